//! The command line.

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{appliance::Appliance, config::Config};

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
pub fn command_line(appliance: Appliance) -> ExitCode {
    let command = Arguments::command().name(appliance.name()).version(appliance.version());
    let parsed =
        command.try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(err) => {
            let _ = err.print();
            return if err.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    env_logger::Builder::from_env(
        env_logger::Env::default().default_filter_or("info,actix_server=warn,symphonia=error"),
    )
    .init();
    let done = match arguments.command {
        Command::Run(run) => run_appliance(appliance, run),
        Command::Check { config } => check(&appliance, &config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("{err:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_appliance(appliance: Appliance, arguments: RunArguments) -> anyhow::Result<()> {
    let known = appliance.service_names();
    let mut config = match &arguments.config {
        Some(path) => Config::read(path, &known)?,
        None => Config::documented(&known, arguments.unprivileged),
    };
    if let Some(data_dir) = arguments.data_dir {
        config.data_dir = data_dir;
    }
    actix::System::new().block_on(appliance.run(config, arguments.ready_file.as_deref()))
}

fn check(appliance: &Appliance, path: &std::path::Path) -> anyhow::Result<()> {
    let config = Config::read(path, &appliance.service_names())?;
    let names: Vec<&str> = config.listeners.iter().map(|l| l.name.as_str()).collect();
    eprintln!("{}: correct; listeners: {}", path.display(), names.join(", "));
    Ok(())
}
