//! `sketchfind man`: manual pages, made from the same text as `--help`.

use std::path::Path;

use anyhow::{Context, Result};
use clap::Command;
use clap::error::ErrorKind;
use clap_mangen::Man;

use crate::exit::Exit;
use crate::output;
use crate::progress::say;

/// Prints the page of the command that `names` leads to, or writes the pages of all commands into a folder.
pub(crate) fn man(program: Command, names: &[String], out: Option<&Path>) -> Result<Exit> {
    // The pages that one reads with `man`; `help` would be one for each of them again.
    let mut program = program.disable_help_subcommand(true);
    program.build();
    if let Some(folder) = out {
        std::fs::create_dir_all(folder).map_err(sketchfind_core::Error::io("create", folder))?;
        let n = write(&program, folder)?;
        say(&format!("{n} pages written to '{}'", folder.display()));
        return Ok(Exit::Success);
    }
    let mut command = &program;
    for name in names {
        let Some(found) = command.find_subcommand(name) else {
            let above = command.get_display_name().unwrap_or(command.get_name());
            let words = format!("'{above}' has no command '{name}'");
            return Err(program.clone().error(ErrorKind::InvalidSubcommand, words).into());
        };
        command = found;
    }
    output::raw(page(command)?)?;
    Ok(Exit::Success)
}

fn write(command: &Command, folder: &Path) -> Result<usize> {
    let path = folder.join(Man::new(command.clone()).get_filename());
    sketchfind_core::atomic::write_bytes(&path, &page(command)?)?;
    let below = command.get_subcommands().filter(|below| !below.is_hide_set());
    below.map(|below| write(below, folder)).try_fold(1, |n, below| Ok(n + below?))
}

fn page(command: &Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page).context("cannot make a manual page")?;
    Ok(page)
}
