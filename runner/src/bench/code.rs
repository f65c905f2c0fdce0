// SPDX-License-Identifier: MIT OR Apache-2.0

//! Machine code: is what the compiler made of a reader in Rust what it made of its twin in C?
//!
//! Two functions are compared as LLVM's disassembler shows them, after what cannot matter has been
//! taken away: which register is which, where a jump leads to in numbers, and padding.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::operations::Code;
use crate::say::{Doing, Result, problem};
use crate::tools::Toolchain;

/// Two functions of a module, compared.
pub struct Compared {
    /// How alike they are.
    pub code: Code,
    /// Both, side by side.
    pub shown: String,
}

/// Compares two functions of a module.
pub fn compare(ko: &Path, toolchain: &Toolchain, c: &str, rust: &str) -> Result<Compared> {
    let (c, rust) = (function(ko, toolchain, c)?, function(ko, toolchain, rust)?);
    Ok(Compared { code: alike(&c, &rust), shown: beside(&c, &rust) })
}

/// The instructions of a function, made comparable.
fn function(ko: &Path, toolchain: &Toolchain, name: &str) -> Result<Vec<String>> {
    let out = Command::new(toolchain.llvm_program("llvm-objdump"))
        .args(["--disassemble", "--reloc", "--no-show-raw-insn", "--no-leading-addr"])
        .args(["--symbolize-operands", &format!("--disassemble-symbols={name}")])
        .arg(ko)
        .output()
        .doing(|| "run llvm-objdump".into())?;
    let text = String::from_utf8_lossy(&out.stdout);
    let code = comparable(&text);
    match code.is_empty() {
        false => Ok(code),
        true => Err(problem(
            format!("{} has no function `{name}`", ko.display()),
            String::from_utf8_lossy(&out.stderr),
            "",
        )),
    }
}

static REGISTER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"%(?:r(\d+)([dwb]?)|([re]?)([abcd])x|([abcd])l|([re]?)([sd]i|bp)|([sd]i|bp)l)\b")
        .expect("is tested")
});
static LABEL: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"<(L\d+)>").expect("is tested"));

/// The instructions in a listing, with registers and labels by the order in which they occur.
fn comparable(listing: &str) -> Vec<String> {
    let mut registers = HashMap::new();
    let mut labels = HashMap::new();
    let mut code: Vec<String> = vec![];
    // Its name differs, and is no code; what comes before is about the file.
    let body = listing.lines().skip_while(|line| !line.trim_end().ends_with(">:")).skip(1);
    for line in body {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        // What the linker or the loader fills in, behind its instruction.
        if let Some((_, symbol)) = line.split_once("R_X86_64_") {
            let symbol = symbol.split_whitespace().nth(1).unwrap_or_default();
            if let Some(last) = code.last_mut() {
                *last += &format!(" {{{symbol}}}");
            }
            continue;
        }
        let line = line.trim_end_matches(':');
        let padding = line.starts_with("nop") || matches!(line, "int3" | "endbr64");
        if !line.is_empty() && !padding {
            code.push(line.to_owned());
        }
    }
    for line in &mut code {
        // The address of what is called is the linker's business.
        let text = match line.split_once(" {") {
            Some((instruction, symbol)) if instruction.starts_with("call") => {
                format!("call {{{symbol}")
            }
            _ => line.clone(),
        };
        let text = REGISTER.replace_all(&text, |found: &Captures<'_>| {
            let (family, width) = family(found);
            let next = registers.len();
            let number = *registers.entry(family).or_insert(next);
            format!("%{number}{width}")
        });
        let text = LABEL.replace_all(&text, |found: &Captures<'_>| {
            let next = labels.len();
            format!("<{}>", labels.entry(found[1].to_owned()).or_insert(next))
        });
        *line = text.into_owned();
    }
    code
}

/// Which register it is, and how much of it: `%eax` is a part of `rax`.
fn family(found: &Captures<'_>) -> (String, &'static str) {
    let get = |i: usize| found.get(i).map(|part| part.as_str());
    let wide = |prefix: Option<&str>| match prefix {
        Some("r") => "",
        Some("e") => "d",
        _ => "w",
    };
    if let Some(number) = get(1) {
        let width = match get(2) {
            Some("d") => "d",
            Some("w") => "w",
            Some("b") => "b",
            _ => "",
        };
        return (format!("r{number}"), width);
    }
    if let Some(letter) = get(4) {
        return (format!("{letter}x"), wide(get(3)));
    }
    if let Some(letter) = get(5) {
        return (format!("{letter}x"), "b");
    }
    match get(7) {
        Some(name) => (name.to_owned(), wide(get(6))),
        None => (get(8).unwrap_or_default().to_owned(), "b"),
    }
}

fn alike(c: &[String], rust: &[String]) -> Code {
    if c == rust {
        return Code::Same;
    }
    // In another order registers get other names, and so do labels: only the kind of instruction
    // and of operand counts.
    let kinds = |code: &[String]| {
        let mut kinds: Vec<_> = code.iter().map(|line| kind(line)).collect();
        kinds.retain(|kind| !kind.starts_with('<'));
        kinds.sort();
        kinds
    };
    if kinds(c) == kinds(rust) { Code::Order } else { Code::Other }
}

static NAMED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"%\d+|<\d+>").expect("is tested"));

/// An instruction without the names of registers and labels.
fn kind(line: &str) -> String {
    NAMED.replace_all(line, |found: &Captures<'_>| found[0][..1].to_owned()).into_owned()
}

/// Two listings side by side, with a mark where they differ.
fn beside(c: &[String], rust: &[String]) -> String {
    let width = c.iter().map(String::len).max().unwrap_or(0).max(1);
    let mut text = format!("  {:width$}    Rust\n", "C");
    for i in 0..c.len().max(rust.len()) {
        let line = |code: &[String]| code.get(i).cloned().unwrap_or_default();
        let (left, right) = (line(c), line(rust));
        let mark = if left == right { ' ' } else { '|' };
        text += &format!("  {left:width$}  {mark} {right}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const C: &str = "
x.ko:\tfile format elf64-x86-64

Disassembly of section .text:

<c_section>:
                testq\t%rsi, %rsi
                je\t<L0>
<L1>:
                incl\t%gs:(%rip)  # 0x0
\t\t\tR_X86_64_PC32\t__preempt_count-0x4
                movq\t(%rdi), %rax
                addq\t$0x8, %r8
                decq\t%rsi
                jne\t<L1>
                nopl\t(%rax)
<L0>:
                callq\t<c_section+0x40>
\t\t\tR_X86_64_PLT32\t__x86_return_thunk-0x4
                int3
";

    #[test]
    fn names_of_registers_and_padding_do_not_matter() {
        let rust = C
            .replace("%rsi", "%r11")
            .replace("%rax", "%rcx")
            .replace("L1", "L7")
            .replace("c_section", "rs_section")
            .replace("                int3\n", "");
        assert_eq!(comparable(&rust), comparable(C));
        assert!(comparable(C).iter().any(|line| line.contains("{__preempt_count-0x4}")));
        assert_eq!(alike(&comparable(C), &comparable(&rust)), Code::Same);
    }

    #[test]
    fn a_second_load_is_seen_and_another_order_is_another_order() {
        let load = "                movq\t(%rdi), %rax\n";
        let twice = C.replace(load, &load.repeat(2));
        assert_eq!(alike(&comparable(C), &comparable(&twice)), Code::Other);
        let add = "                addq\t$0x8, %r8\n";
        let swapped = C.replace(&format!("{load}{add}"), &format!("{add}{load}"));
        assert_ne!(swapped, C);
        assert_eq!(alike(&comparable(C), &comparable(&swapped)), Code::Order);
    }

    #[test]
    fn one_register_for_two_is_not_the_same() {
        let code = |line: &str| comparable(&format!("<x>:\n\t{line}\n"));
        assert_eq!(code("addq\t%rax, %rbx"), code("addq\t%r9, %r10"));
        assert_ne!(code("addq\t%rax, %rbx"), code("addq\t%rax, %rax"));
        // Nor is a half for a whole.
        assert_ne!(code("movl\t%eax, %ebx"), code("movl\t%rax, %rbx"));
        assert_eq!(code("movb\t%al, %sil"), code("movb\t%r8b, %bl"));
    }

    #[test]
    fn the_marks_are_where_the_listings_differ() {
        let (c, rust) = (vec!["a".to_owned(), "b".to_owned()], vec!["a".to_owned()]);
        let shown = beside(&c, &rust);
        assert!(shown.contains("a    a\n") && shown.contains("b  | \n"), "{shown}");
    }
}
