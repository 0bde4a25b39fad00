//! The command line: raw arguments, nothing resolved.

use clap::{Parser, Subcommand, ValueEnum};

/// Moves live PostgreSQL databases: the daemon beside the extension pgrelay.
#[derive(Debug, Parser)]
#[command(name = "pgrelay-applier", version, about)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve every task of a source database until ended by SIGTERM or SIGINT.
    Run {
        /// The database in which the extension is; no password: it belongs into .pgpass, a service file or PGPASSWORD.
        #[arg(long, value_name = "CONNINFO", env = "PGRELAY_SOURCE", hide_env_values = true)]
        source: String,
        /// How log lines are written.
        #[arg(long, value_enum, default_value_t = LogFormat::Text)]
        log_format: LogFormat,
        /// What is logged: error, warn, info, debug, or a filter such as pgrelay_applier=debug,tokio_postgres=warn.
        #[arg(long, value_name = "FILTER", default_value = "info")]
        log_level: String,
    },
    /// Draw the tasks of a source database with progress bars.
    Status {
        /// The database in which the extension is.
        #[arg(long, value_name = "CONNINFO", env = "PGRELAY_SOURCE", hide_env_values = true)]
        source: String,
        /// Draw again every second until ended by SIGTERM or SIGINT (Ctrl-C).
        #[arg(long)]
        watch: bool,
        /// Print a JSON array of the tasks, each with its tables, instead: on one line, or with --watch a line every second.
        #[arg(long)]
        json: bool,
        /// Only this task.
        task: Option<String>,
    },
}

/// How log lines are written, to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
