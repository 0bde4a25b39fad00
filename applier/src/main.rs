//! `pgrelay-applier`: see `--help`.

use std::process::ExitCode;

use clap::Parser;
use pgrelay_applier::{
    cli::{Arguments, Command},
    status, supervisor, telemetry,
};
use pgrelay_core::{Error, Result, conninfo, error::Kind};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pgrelay-applier: {error}");
            if let Some(hint) = &error.hint {
                eprintln!("HINT: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Command::Run { source, log_format, log_level } => {
            conninfo::check_source(&source)?;
            telemetry::start(log_format, &log_level)?;
            supervisor::run(&source, shutdown()?).await
        }
        Command::Status { source, watch, task } => {
            conninfo::check_source(&source)?;
            status::run(&source, watch, task.as_deref()).await
        }
    }
}

/// Turns true at SIGTERM or SIGINT.
fn shutdown() -> Result<watch::Receiver<bool>> {
    let failed = |e| Error::new(Kind::Internal, "signals cannot be caught").caused_by(e);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let (tell, hear) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tell.send_replace(true);
        // Kept alive, so that who waits sees the value and not a closed channel.
        std::future::pending::<()>().await;
    });
    Ok(hear)
}
