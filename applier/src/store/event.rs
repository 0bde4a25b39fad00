//! Events: what happened to a task, in order, and its findings.

use pgrelay_core::{Error, Result, finding::Finding};

use super::Store;

/// How loud an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Part of the normal course.
    Info,
    /// Somebody should look.
    Warning,
    /// The task does not go on.
    Error,
}

/// One row of `pgrelay.event`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// How loud it is.
    pub level: Level,
    /// A stable word.
    pub event: &'static str,
    /// The table or other object it is about.
    pub object: Option<String>,
    /// Lower case, no full stop.
    pub message: String,
    /// A sentence of fact.
    pub detail: Option<String>,
    /// A sentence that says what to do.
    pub hint: Option<String>,
    /// Of an error.
    pub sqlstate: Option<String>,
}

impl Event {
    /// An event without detail.
    pub fn new(level: Level, event: &'static str, message: impl Into<String>) -> Event {
        Event { level, event, object: None, message: message.into(), detail: None, hint: None, sqlstate: None }
    }

    /// An error as it is shown everywhere else.
    pub fn of_error(level: Level, error: &Error) -> Event {
        Event {
            level,
            event: "error",
            object: error.object.clone(),
            message: error.message.clone(),
            detail: error.detail.clone(),
            hint: error.hint.clone(),
            sqlstate: Some(error.sqlstate().to_owned()),
        }
    }

    /// Under another stable word.
    pub fn named(mut self, event: &'static str) -> Event {
        self.event = event;
        self
    }

    /// Names the object it is about.
    pub fn object(mut self, object: impl Into<String>) -> Event {
        self.object = Some(object.into());
        self
    }

    /// Adds a sentence that says what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Event {
        self.hint = Some(hint.into());
        self
    }
}

impl Store {
    /// Writes an event of a task, to the table and to the log.
    pub async fn event(&self, task: &str, event: &Event) -> Result<()> {
        let level = match event.level {
            Level::Info => {
                tracing::info!(task, event = event.event, object = event.object, "{}", event.message);
                "info"
            }
            Level::Warning => {
                tracing::warn!(task, event = event.event, object = event.object, hint = event.hint, "{}", event.message);
                "warning"
            }
            Level::Error => {
                tracing::error!(
                    task,
                    event = event.event,
                    object = event.object,
                    hint = event.hint,
                    sqlstate = event.sqlstate,
                    "{}",
                    event.message
                );
                "error"
            }
        };
        let sql = include_str!("../../../sql/store/write_event.sql");
        let e = event;
        self.write("write an event", sql, &[&task, &level, &e.event, &e.object, &e.message, &e.detail, &e.hint, &e.sqlstate])
            .await
            .map(drop)
    }

    /// Replaces the findings of a task.
    pub async fn findings(&self, task_id: i64, findings: &[Finding]) -> Result<()> {
        let column = |f: fn(&Finding) -> String| findings.iter().map(f).collect::<Vec<_>>();
        let fixes: Vec<Option<&str>> = findings.iter().map(|f| f.fix.as_deref()).collect();
        let sql = include_str!("../../../sql/store/write_findings.sql");
        let (items, severities) = (column(|f| f.item.to_owned()), column(|f| f.severity.to_string()));
        let (objects, messages) = (column(|f| f.object.clone()), column(|f| f.message.clone()));
        self.write("write the findings", sql, &[&task_id, &items, &severities, &objects, &messages, &fixes]).await.map(drop)
    }

    /// Adds a finding of the running task behind those of the precheck, once.
    pub async fn add_finding(&self, task_id: i64, finding: &Finding) -> Result<()> {
        let sql = include_str!("../../../sql/store/add_finding.sql");
        let severity = finding.severity.to_string();
        self.write("write a finding", sql, &[&task_id, &finding.item, &severity, &finding.object, &finding.message, &finding.fix])
            .await
            .map(drop)
    }
}
