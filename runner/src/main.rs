// SPDX-License-Identifier: MIT OR Apache-2.0

//! The workshop's one host program.  `make` hands it the goals it was given;
//! [`goals`] says what each means.

mod bench;
mod book;
mod breaks;
mod debug;
mod doctor;
mod goals;
mod house;
mod interrupt;
mod kernel;
mod lab;
mod litmus;
mod module;
mod paths;
mod run;
mod say;
mod session;
mod stage;
mod test;
mod timeline;
mod tools;
mod torture;
mod trace;
mod variant;
mod verdict;
mod vm;

use std::process::ExitCode;

use miette::{GraphicalReportHandler, GraphicalTheme};

fn main() -> ExitCode {
    let result = match vm::exec_as_qemu() {
        Some(error) => Err(error),
        None => {
            interrupt::catch();
            goals::run(std::env::args().skip(1).collect())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{}", render(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error as the user sees it.
pub fn render(error: &miette::Report) -> String {
    // Not wrapped: a compiler's lines and a kernel's are to stay as they are.
    let theme = GraphicalTheme::unicode_nocolor();
    let handler = GraphicalReportHandler::new_themed(theme).with_wrap_lines(false);
    let mut text = String::new();
    match handler.render_report(&mut text, error.as_ref()) {
        Ok(()) => text,
        Err(_) => error.to_string(),
    }
}
