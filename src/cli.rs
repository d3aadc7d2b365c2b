//! The command line.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use portcullis_actors::logging;
use portcullis_speech::jobs::{APART_COMMAND, transcribe_apart};

use crate::{
    appliance::Appliance,
    config::Config,
    console::{self, ConsoleArguments},
    limits,
};

/// An appliance front door whose certificate, ports and password change without cutting anybody
/// off.
#[derive(Debug, Parser)]
#[command(arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the appliance until SIGTERM or SIGINT.
    Run(RunArguments),
    /// Sees to the appliance from the machine itself, running or stopped.
    Console(ConsoleArguments),
    /// Prints the completions for a shell.
    Completions { shell: clap_complete::Shell },
    /// Prints the man page.
    Man,
    /// Transcribes a job that the appliance hands over; not for people.
    #[command(name = APART_COMMAND, hide = true)]
    TranscribeApart,
    /// Checks a configuration file and exits: 0 if it is right, 1 with the reason if not.
    Check {
        /// The TOML file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct RunArguments {
    /// The TOML file; without one the documented ports are served.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the state is kept, instead of what the configuration says.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Uses 8080 and 8443 for 80 and 443 where there is no configuration.
    #[arg(long, conflicts_with = "config")]
    unprivileged: bool,
    /// A file to write, as JSON, once every port accepts.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// Parses the command line, does what it says, and gives the exit code: 0 on success, 1 with one
/// line on standard error when the appliance cannot start, 2 for a wrong command line.
///
/// A program has all the commands of portcullis under its own name: `run`, `check`, `console`,
/// `completions`, `man`. It makes its own runtime, so it is called outside of any.
pub fn command_line(appliance: Appliance) -> ExitCode {
    let mut command = Arguments::command().name(appliance.name()).version(appliance.version());
    let parsed = command
        .try_get_matches_from_mut(std::env::args_os())
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(err) => {
            let _ = err.print();
            return if err.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let done = match arguments.command {
        Command::Run(run) => run_appliance(appliance, run),
        Command::Check { config } => check(&appliance, &config),
        Command::Console(arguments) => run_console(&appliance, arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, appliance.name(), &mut script);
            std::io::stdout().write_all(&script).map_err(Into::into)
        }
        Command::Man => print_man(command),
        Command::TranscribeApart => transcribe_apart().map_err(Into::into),
    };
    logging::flush();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // `… | head` has read what it wanted.
        Err(err) if is_broken_pipe(&err) => ExitCode::SUCCESS,
        Err(err) => {
            logging::say(&format!("{err:#}"));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(err: &anyhow::Error) -> bool {
    err.root_cause()
        .downcast_ref::<std::io::Error>()
        .is_some_and(|err| err.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run_appliance(appliance: Appliance, arguments: RunArguments) -> anyhow::Result<()> {
    let kinds = appliance.kinds();
    let config = match &arguments.config {
        Some(path) => Config::read(path, kinds)?,
        None => Config::documented(kinds, arguments.unprivileged)?,
    };
    let config = config.with_data_dir(arguments.data_dir);
    begin_log(config.log.format, &appliance)?;
    let admission = limits::share_out(&config)?;
    let system = actix::System::new();
    let done = system.block_on(appliance.run(config, admission, arguments.ready_file.as_deref()));
    // Dropping it waits for every blocking thread, and one of them may hang.
    std::mem::forget(system);
    done
}

fn begin_log(format: logging::Format, appliance: &Appliance) -> anyhow::Result<()> {
    logging::init(format, appliance.name()).context(
        "the thread that writes the log cannot be started; raise the limit of threads (ulimit -u, TasksMax=, pids.max)",
    )
}

fn run_console(appliance: &Appliance, arguments: ConsoleArguments) -> anyhow::Result<()> {
    begin_log(logging::Format::default(), appliance)?;
    let config = match &arguments.config {
        Some(path) => Config::read(path, appliance.kinds())?,
        None => Config::documented(&[], false)?,
    };
    let config = config.with_data_dir(arguments.data_dir.clone());
    console::run(arguments, &config, appliance.kinds())
}

/// One page: the command, and a section for each subcommand below it.
fn print_man(mut command: clap::Command) -> anyhow::Result<()> {
    command.build();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    for subcommand in command.get_subcommands() {
        print_man_section(subcommand, "", &mut page)?;
    }
    std::io::stdout().write_all(&page)?;
    Ok(())
}

fn print_man_section(
    command: &clap::Command,
    above: &str,
    page: &mut Vec<u8>,
) -> anyhow::Result<()> {
    let name = format!("{above}{}", command.get_name());
    if command.get_name() == "help" || command.is_hide_set() {
        return Ok(());
    }
    let mut section = Vec::new();
    let man = clap_mangen::Man::new(command.clone());
    man.render_synopsis_section(&mut section)?;
    man.render_description_section(&mut section)?;
    man.render_options_section(&mut section)?;
    writeln!(page, ".SH {}", name.to_uppercase())?;
    writeln!(page, ".B {}", name.replace('-', "\\-"))?;
    page.extend(String::from_utf8_lossy(&section).replace(".SH ", ".SS ").into_bytes());
    for subcommand in command.get_subcommands() {
        print_man_section(subcommand, &format!("{name} "), page)?;
    }
    Ok(())
}

fn check(appliance: &Appliance, path: &std::path::Path) -> anyhow::Result<()> {
    let config = Config::read(path, appliance.kinds())?;
    let names: Vec<&str> = config.listeners.iter().map(|l| l.name.as_str()).collect();
    eprintln!("{}: correct; listeners: {}", path.display(), names.join(", "));
    Ok(())
}
