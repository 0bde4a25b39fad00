//! `pgrelay-applier`: see `--help`.

use std::process::ExitCode;

use clap::Parser;
use pgrelay_applier::{
    cli::{Arguments, Command},
    lane, status, supervisor, telemetry,
};
use pgrelay_core::{Error, Result, conninfo, error::Kind};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(lane::STACK).build();
    let runtime = runtime.map_err(|e| Error::new(Kind::Internal, "threads cannot be started").caused_by(e));
    let arguments = Arguments::parse();
    match runtime.and_then(|runtime| runtime.block_on(run(arguments))) {
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
        Command::Status { source, watch, json, task } => {
            conninfo::check_source(&source)?;
            let form = if json { status::Form::Json } else { status::Form::Picture };
            status::run(&source, watch, form, task.as_deref(), shutdown()?).await
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
