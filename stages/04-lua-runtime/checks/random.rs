// SPDX-License-Identifier: GPL-2.0

//! Random scripts, for the check named `random`: words in any order, programs that mostly compile,
//! and the scripts of `guest/hostile.txt` with something changed in them. Nothing but an error in
//! Lua may come of any of them.
//!
//! All depends on one number, the seed, and on how many scripts were made before: what happened can
//! be made to happen again.

use kernel::prelude::*;

use super::lua::{
    Budget,
    Libraries,
    Message,
    State, //
};

/// xorshift64*, which will do.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`, which is not 0.
    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }

    /// One of some words, which are separated by blanks.
    fn pick(&mut self, words: &'static str) -> &'static str {
        let count = words.split_ascii_whitespace().count();
        let at = self.below(count);
        words.split_ascii_whitespace().nth(at).unwrap_or("")
    }
}

/// A script in the making; what has no memory or no room is left out.
struct Script(KVVec<u8>);

const LONGEST: usize = 8192;

impl Script {
    fn add(&mut self, text: &[u8]) {
        if self.0.len() + text.len() <= LONGEST {
            let _ = self.0.extend_from_slice(text, GFP_KERNEL);
        }
    }

    fn word(&mut self, word: &str) {
        self.add(word.as_bytes());
        self.add(b" ");
    }
}

/// What the parser knows, and what it does not.
const WORDS: &str = r#"
    and break do else elseif end false for function goto if in local nil not or repeat return then
    true until while global + - * / % ^ # & ~ | << >> // == ~= <= >= < > = ( ) { } [ ] :: ; : , . ..
    ... a b c _ENV 1 <close> <const> [[x]] 's' "\u{7fffffff}" "\u{8fffffff}" '\ --[[ 0x 1.5 [=[ @ $ !
"#;

// (Not the variables of a loop, and not constants.)
const NAMES: &str = "a b c d t f";

const TARGETS: &str = "a x<const> t x<close> a,b,c";

const LITERALS: &str = r#"
    nil true false 0 1 2 -1 64 1<<31 1<<62 math.maxinteger math.mininteger '' 'a' '%s%d' '(a*)*b'
    '[^%w]+' '%b()' '\0\255' ('x'):rep(300) ('ab'):rep(5000) {} {1,2,3} {a=1,[2]={}} ...
    function(...)return(...)end coroutine.create(function()coroutine.yield(1)end)
    setmetatable({},{__index=function(t,k)return(k)end})
    setmetatable({},{__gc=function()a=nil;end,__close=function()error('c')end})
    setmetatable({},{__call=function(...)return(...)end,__len=function()return(1<<40)end})
    require('kernel') require('kernel').counter() a b t f
"#;

const FUNCTIONS: &str = "
    assert collectgarbage error getmetatable ipairs load next pairs pcall print rawequal rawget
    rawlen rawset require select setmetatable tonumber tostring type xpcall coroutine.close
    coroutine.create coroutine.isyieldable coroutine.resume coroutine.running coroutine.status
    coroutine.wrap coroutine.yield math.abs math.fmod math.max math.random math.tointeger math.ult
    string.byte string.char string.find string.format string.gmatch string.gsub string.len
    string.lower string.match string.pack string.packsize string.rep string.reverse string.sub
    string.unpack string.upper table.concat table.insert table.move table.pack table.remove
    table.sort table.unpack utf8.char utf8.codepoint utf8.codes utf8.len utf8.offset
    require('kernel').add require('kernel').upper require('kernel').hold
    require('kernel').counter f a t.f
";

const OPERATORS: &str = "+ - * / % ^ // .. == ~= < <= > >= and or & | ~ << >>";

fn expression(r: &mut Random, s: &mut Script, depth: u32) {
    if depth == 0 {
        return s.word(r.pick(LITERALS));
    }
    match r.below(9) {
        0 | 1 => s.word(r.pick(LITERALS)),
        2 | 3 => {
            s.word("(");
            expression(r, s, depth - 1);
            s.word(r.pick(OPERATORS));
            expression(r, s, depth - 1);
            s.word(")");
        }
        4 => {
            s.word(r.pick("- not # ~"));
            expression(r, s, depth - 1);
        }
        5 => {
            s.word("function(a, b, ...)");
            block(r, s, depth - 1);
            s.word("end");
        }
        6 => {
            s.word("{");
            for _ in 0..r.below(4) {
                expression(r, s, depth - 1);
                s.word(",");
            }
            s.word("}");
        }
        _ => call(r, s, depth - 1),
    }
}

fn call(r: &mut Random, s: &mut Script, depth: u32) {
    if r.below(3) == 0 {
        s.word("pcall(");
        s.word(r.pick(FUNCTIONS));
        s.word(", nil");
    } else {
        s.word(r.pick(FUNCTIONS));
        s.word("(");
        expression(r, s, depth);
    }
    for _ in 0..r.below(3) {
        s.word(",");
        expression(r, s, depth);
    }
    s.word(")");
}

fn statement(r: &mut Random, s: &mut Script, depth: u32) {
    let inner = depth.saturating_sub(1);
    let kinds = if depth == 0 { 4 } else { 11 };

    match r.below(kinds) {
        0 | 1 => {
            s.word(r.pick(NAMES));
            s.word("=");
            expression(r, s, inner);
        }
        2 => {
            s.word("local");
            s.word(r.pick(TARGETS));
            s.word("=");
            expression(r, s, inner);
        }
        3 => call(r, s, inner),
        4 => {
            s.word("if");
            expression(r, s, inner);
            s.word("then");
            block(r, s, inner);
            s.word("else");
            block(r, s, inner);
            s.word("end");
        }
        5 => {
            s.word("while");
            expression(r, s, inner);
            s.word("do");
            block(r, s, inner);
            s.word("end");
        }
        6 => {
            s.word("for i =");
            expression(r, s, inner);
            s.word(",");
            expression(r, s, inner);
            s.word("do");
            block(r, s, inner);
            s.word("end");
        }
        7 => {
            s.word("for k, v in pairs(");
            expression(r, s, inner);
            s.word(") do");
            block(r, s, inner);
            s.word("end");
        }
        8 => {
            s.word("function f(a, ...)");
            block(r, s, inner);
            s.word("end");
        }
        9 => {
            s.word("t = t or {} t[");
            expression(r, s, inner);
            s.word("] =");
            expression(r, s, inner);
        }
        _ => {
            s.word("do");
            block(r, s, inner);
            s.word("end");
        }
    }
    s.word(";");
}

fn block(r: &mut Random, s: &mut Script, depth: u32) {
    for _ in 0..1 + r.below(3) {
        statement(r, s, depth);
    }
    if r.below(4) == 0 {
        s.word("return");
        expression(r, s, depth.saturating_sub(1));
        s.word(";");
    }
}

/// A few blocks, each of which may fail without an end to the others.
fn program(r: &mut Random, s: &mut Script) {
    for _ in 0..6 {
        s.word("pcall(function(...)");
        block(r, s, 4);
        s.word("end)");
    }
}

/// Some script of the suite, changed.
fn mutation(r: &mut Random, s: &mut Script) {
    const SUITE: &[u8] = include_bytes!("../guest/hostile.txt");

    // One of the marks that begin a script, and the text from the next line on.
    let at = r.below(SUITE.len());
    let find = |text: &[u8], what: &[u8]| text.windows(what.len()).position(|w| w == what);
    let Some(begin) = find(&SUITE[at..], b"\n--> ") else {
        return;
    };
    let script = &SUITE[at + begin + 1..];
    let Some(line) = find(script, b"\n") else {
        return;
    };
    let script = &script[line + 1..];
    let end = find(script, b"\n== ").unwrap_or(script.len());
    s.add(&script[..end]);

    for _ in 0..1 + r.below(4) {
        let length = s.0.len();
        if length == 0 {
            return;
        }
        let (from, to) = (r.below(length), r.below(length));
        match r.below(5) {
            // Any byte.
            0 => s.0[from] = r.next() as u8,
            // A byte that is there already.
            1 => s.0[from] = s.0[to],
            // It ends early.
            2 => s.0.truncate(from),
            // A piece twice.
            3 => {
                let mut piece = [0; 32];
                let n = (length - from).min(piece.len());
                piece[..n].copy_from_slice(&s.0[from..from + n]);
                s.add(&piece[..n]);
            }
            // A word in the place of what is there.
            _ => {
                let word = r.pick(WORDS).as_bytes();
                let n = word.len().min(length - from);
                s.0[from..from + n].copy_from_slice(&word[..n]);
            }
        }
    }
}

fn words(r: &mut Random, s: &mut Script) {
    for _ in 0..1 + r.below(60) {
        s.word(r.pick(WORDS));
    }
}

/// Makes `count` scripts, and runs each in a state of its own.
pub(crate) fn run(seed: u64, count: u64, budget: &Budget, libraries: &'static Libraries) -> Result {
    let (mut fine, mut refused, mut failed, mut spent) = (0, 0, 0, 0);

    for n in 1..=count {
        if n % 50 == 1 {
            pr_info!("[random] at: seed={seed} n={n}\n");
        }
        let mut r = Random((seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).max(1));
        let mut script = Script(KVVec::new());
        match n % 4 {
            0 => words(&mut r, &mut script),
            1 | 2 => mutation(&mut r, &mut script),
            _ => program(&mut r, &mut script),
        }
        let mut state: State = State::new(budget, libraries)?;
        let counted = state
            .lua()
            .run(c"=random", &script.0, |result| match result {
                Ok(_) => &mut fine,
                // What the parser says names what it was near to.
                Err(Message(text)) if text.windows(6).any(|w| w == b" near ") => &mut refused,
                Err(_) => &mut failed,
            });
        *counted += 1;
        spent += u64::from(state.usage().spent);
    }
    pr_info!(
        "[random] end: seed={seed} fine={fine} refused={refused} failed={failed} spent={spent}\n"
    );
    Ok(())
}
