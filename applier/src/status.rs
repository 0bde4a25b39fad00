//! `status`: the tasks of a database with progress bars, from the same views that a DBA reads in psql.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
    time::Duration,
};

use pgrelay_core::{
    Error, Result,
    error::{Class, Kind},
};
use serde_json::Value;
use tokio::{sync::watch, time::sleep};
use tokio_postgres::{Client, Row};

use crate::pg::{Endpoint, connect, server_error};

/// Cells of a progress bar.
const BAR: usize = 30;

/// Tables drawn of one task at most.
const TABLES: usize = 40;

/// How often it is drawn.
const PERIOD: Duration = Duration::from_secs(1);

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Picture,
    /// A line of JSON.
    Json,
}

/// Draws once, or every second until `shutdown` turns true or nobody reads any more.
///
/// Errors: a source that cannot be reached; while watching only at the first look, later ones are drawn and waited out.
pub async fn run(source: &str, watching: bool, form: Form, task: Option<&str>, mut shutdown: watch::Receiver<bool>) -> Result<()> {
    let endpoint = Endpoint::resolve(source, &[])?;
    let redraw = watching && form == Form::Picture && io::stdout().is_terminal();
    let mut client = None;
    let mut drawn = false;
    loop {
        let picture = tokio::select! {
            picture = look(&endpoint, &mut client, form, task) => picture,
            _ = shutdown.wait_for(|s| *s) => return Ok(()),
        };
        let picture = match picture {
            Err(error) if watching && drawn && form == Form::Picture && error.class() == Class::Transient => format!("{error}\n"),
            picture => picture?,
        };
        if !print(&picture, redraw)? || !watching {
            return Ok(());
        }
        drawn = true;
        tokio::select! {
            _ = sleep(PERIOD) => {}
            _ = shutdown.wait_for(|s| *s) => return Ok(()),
        }
    }
}

/// False: nobody reads it any more.
fn print(picture: &str, redraw: bool) -> Result<bool> {
    let mut out = io::stdout().lock();
    let written = if redraw {
        // Home, then each line cleared to its end, then the rest of the screen: no flicker.
        out.write_all(format!("\x1b[H{}\x1b[J", picture.replace('\n', "\x1b[K\n")).as_bytes())
    } else {
        out.write_all(format!("{picture}\n").as_bytes())
    };
    match written.and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Error::new(Kind::Internal, "the status cannot be written").caused_by(e)),
    }
}

/// Looks, over the connection of the last look while it is good.
async fn look(endpoint: &Endpoint, client: &mut Option<Client>, form: Form, task: Option<&str>) -> Result<String> {
    let open = match client.take().filter(|c| !c.is_closed()) {
        Some(open) => open,
        None => connect(endpoint, "pgrelay status", &[]).await?,
    };
    let picture = read(&open, form, task).await?;
    *client = Some(open);
    Ok(picture)
}

async fn read(source: &Client, form: Form, task: Option<&str>) -> Result<String> {
    let failed = |e| server_error(e, "read the status");
    let tasks = source.query(include_str!("../../sql/store/status_tasks.sql"), &[&task]).await.map_err(failed)?;
    let tables = source.query(include_str!("../../sql/store/status_tables.sql"), &[&task]).await.map_err(failed)?;
    let of_task = |row: &Row| tables.iter().filter(|t| t.get::<_, &str>("task") == row.get::<_, &str>("task")).collect::<Vec<&Row>>();
    Ok(match form {
        Form::Json => Value::Array(tasks.iter().map(|row| json(row, &of_task(row))).collect()).to_string(),
        Form::Picture if tasks.is_empty() => "no task\n".to_owned(),
        Form::Picture => tasks.iter().map(|row| draw_task(row, &of_task(row))).collect(),
    })
}

/// A row of `task_status`, with the rows of `table_status` as `table_status`.
fn json(row: &Row, tables: &[&Row]) -> Value {
    let mut task: Value = row.get("row");
    task["table_status"] = tables.iter().map(|t| t.get::<_, Value>("row")).collect();
    task
}

fn draw_task(row: &Row, tables: &[&Row]) -> String {
    let mut out = String::new();
    let text = |name: &str| row.get::<_, Option<String>>(name).unwrap_or_default();
    let percent: Option<f64> = row.get("percent");
    // Writing to a string does not fail.
    let _ = writeln!(out, "task {}: {}  {} {}", text("task"), text("state"), bar(percent), text("summary"));
    for table in tables.iter().take(TABLES) {
        let cell = |name: &str| table.get::<_, Option<String>>(name).unwrap_or_default();
        let (name, state, summary) = (cell("table_name"), cell("state"), cell("summary"));
        let _ = writeln!(out, "  {name:<40} {} {state:<12} {summary}", bar(table.get("percent")));
    }
    if tables.len() > TABLES {
        let _ = writeln!(out, "  and {} more tables", tables.len() - TABLES);
    }
    if !text("error").is_empty() {
        let _ = writeln!(out, "  error: {}", text("error"));
        let _ = writeln!(out, "  hint:  {}", text("error_hint"));
    }
    out
}

/// A progress bar with its figure; empty when nothing is known.
fn bar(percent: Option<f64>) -> String {
    let Some(percent) = percent else { return format!("[{}]      ", " ".repeat(BAR)) };
    let full = ((percent / 100.0 * BAR as f64).round() as usize).min(BAR);
    format!("[{}{}] {:>4.0}%", "#".repeat(full), ".".repeat(BAR - full), percent.floor())
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn a_bar_is_full_only_at_the_end() {
        assert_eq!(bar(Some(0.0)), "[..............................]    0%");
        assert_eq!(bar(Some(50.4)), "[###############...............]   50%");
        assert!(bar(Some(99.9)).ends_with("  99%"));
        assert_eq!(bar(Some(100.0)), "[##############################]  100%");
        assert_eq!(bar(None).len(), bar(Some(7.0)).len());
    }
}
