//! `status`: the tasks of a database with progress bars, from the same views that a DBA reads in psql.

use std::{fmt::Write as _, io::IsTerminal, time::Duration};

use pgrelay_core::Result;
use tokio_postgres::{Client, Row};

use crate::pg::{Endpoint, connect, server_error};

/// Cells of a progress bar.
const BAR: usize = 30;

/// Tables drawn of one task at most.
const TABLES: usize = 40;

/// How often it is drawn.
const PERIOD: Duration = Duration::from_secs(1);

/// Draws once, or again and again.
pub async fn run(source: &str, watch: bool, task: Option<&str>) -> Result<()> {
    let source = connect(&Endpoint::resolve(source, &[])?, "pgrelay status", &[]).await?;
    loop {
        let picture = draw(&source, task).await?;
        if watch && std::io::stdout().is_terminal() {
            // Home, then each line cleared to its end, then the rest of the screen: no flicker.
            print!("\x1b[H{}\x1b[J", picture.replace('\n', "\x1b[K\n"));
        } else {
            println!("{picture}");
        }
        if !watch {
            return Ok(());
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn draw(source: &Client, task: Option<&str>) -> Result<String> {
    let failed = |e| server_error(e, "read the status");
    let tasks = source.query(include_str!("../../sql/store/status_tasks.sql"), &[&task]).await.map_err(failed)?;
    let tables = source.query(include_str!("../../sql/store/status_tables.sql"), &[&task]).await.map_err(failed)?;
    let mut picture = String::new();
    if tasks.is_empty() {
        picture.push_str("no task\n");
    }
    for row in &tasks {
        let name: &str = row.get("task");
        let of_task: Vec<&Row> = tables.iter().filter(|t| t.get::<_, &str>("task") == name).collect();
        picture.push_str(&draw_task(row, &of_task));
    }
    Ok(picture)
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
