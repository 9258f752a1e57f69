//! `top`: plugins in a terminal. See the library of this package.

use std::env;
use std::io::{self, Write as _};
use std::process::ExitCode;

use plugmeter_demo::arguments::UsageError;

fn main() -> ExitCode {
    match plugmeter_top::run(env::args_os().skip(1)) {
        Ok(code) => code,
        Err(error) => {
            // If standard error is closed too, only the exit code is left.
            let _ = writeln!(io::stderr(), "top: {error}");
            ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
        }
    }
}
