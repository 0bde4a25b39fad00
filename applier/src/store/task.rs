//! Tasks as the user wants them, and the state they are in.

use pgrelay_core::{
    Error, Lsn, Result,
    conflict::{self, Direction, OptionOverride, Override, Policy, Rules, Setting},
    error::Kind,
    name::{Selection, TableName},
    state::{Actual, Desired},
    task::{Names, Options},
};

use tokio_postgres::types::Json;

use super::{Event, Store};
use crate::pg::server_error;

/// What identifies a source database over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// Of the cluster, made by initdb.
    pub system_identifier: i64,
    /// Of the database.
    pub database_oid: u32,
    /// Grows with each promotion.
    pub timeline: i32,
}

/// One row of `pgrelay.task` with its state.
#[derive(Debug, Clone)]
pub struct TaskRow {
    /// Never used again.
    pub id: i64,
    /// Which of its directions this is about: the wish, the state and the transactions that are left out are that one's.
    pub direction: Direction,
    /// Chosen by the user.
    pub name: String,
    /// Role that made it: it must be able to read what the task moves.
    pub owner: String,
    /// Connection string without secrets, or a foreign server's name.
    pub peer: String,
    /// As the user gave it.
    pub include: Vec<String>,
    /// As the user gave it.
    pub exclude: Vec<String>,
    /// As the user gave them.
    pub options: serde_json::Value,
    /// Policies that count for some conflicts only, partitions named one by one.
    pub policies: Vec<Override>,
    /// Options of conflicts that count for some changes only, partitions named one by one.
    pub conflict_options: Vec<OptionOverride>,
    /// Positions of the commit records of transactions of the source that are left out.
    pub skips: Vec<Lsn>,
    /// Of the database in which the task was made.
    pub lineage: Lineage,
    /// What the user asked for last.
    pub desired: Desired,
    /// Counts the commands.
    pub serial: i64,
    /// The command that the applier took up last.
    pub seen_serial: i64,
    /// Finish without a peer that is gone.
    pub force: bool,
    /// The state it is in.
    pub state: Actual,
    /// The last stage it has come to; none before anything was written on the peer.
    pub stage: Option<String>,
    /// Both sides are being cleaned.
    pub cleaning: bool,
}

impl TaskRow {
    /// Names of what this direction makes on the servers.
    pub fn names(&self) -> Names {
        match self.direction {
            Direction::Forward => self.forward_names(),
            Direction::Reverse => self.forward_names().reverse(),
        }
    }

    /// Those of the forward direction.
    pub fn forward_names(&self) -> Names {
        Names::new(self.lineage.system_identifier as u64, self.lineage.database_oid, self.id)
    }

    /// What it selects.
    pub fn selection(&self) -> Result<Selection> {
        Selection::parse(&self.include, &self.exclude)
    }

    /// Its options, each with a value.
    pub fn options(&self) -> Result<Options> {
        Options::from_json(&self.options)
    }

    /// How its conflicts are decided.
    pub fn rules(&self) -> Result<Rules> {
        Ok(self.options()?.rules(self.policies.clone(), self.conflict_options.clone()))
    }
}

/// Schema, table, kind, direction, policy.
type PolicyRow = (Option<String>, Option<String>, Option<String>, Option<String>, String);

fn policy((schema, table, kind, direction, policy): &PolicyRow) -> Result<Override> {
    Ok(Override {
        table: schema.as_ref().zip(table.as_ref()).map(|(schema, table)| TableName::new(schema, table)),
        kind: kind.as_ref().map(|word| conflict::Kind::parse(word).ok_or_else(|| unknown_word(word))).transpose()?,
        direction: direction.as_ref().map(|word| Direction::parse(word).ok_or_else(|| unknown_word(word))).transpose()?,
        policy: Policy::parse(policy).ok_or_else(|| unknown_word(policy))?,
    })
}

/// Schema, table, option, direction, value.
type OptionRow = (Option<String>, Option<String>, String, Option<String>, String);

fn conflict_option((schema, table, option, direction, value): &OptionRow) -> Result<OptionOverride> {
    Ok(OptionOverride {
        table: schema.as_ref().zip(table.as_ref()).map(|(schema, table)| TableName::new(schema, table)),
        direction: direction.as_ref().map(|word| Direction::parse(word).ok_or_else(|| unknown_word(word))).transpose()?,
        setting: Setting::parse(option, value).ok_or_else(|| unknown_word(value))?,
    })
}

fn unknown_word(word: &str) -> Error {
    Error::new(Kind::Internal, format!("\"{word}\" is not a word of the contract tables"))
}

impl Store {
    /// Every task of this database.
    pub async fn tasks(&self) -> Result<Vec<TaskRow>> {
        let rows = self.rows("read the tasks", include_str!("../../../sql/store/tasks.sql"), &[]).await?;
        let read = |row: &tokio_postgres::Row| {
            let Json(policies): Json<Vec<PolicyRow>> = row.get("policies");
            let Json(conflict_options): Json<Vec<OptionRow>> = row.get("conflict_options");
            Ok(TaskRow {
                id: row.get("id"),
                direction: Direction::parse(row.get("direction")).ok_or_else(|| unknown_word(row.get("direction")))?,
                name: row.get("name"),
                owner: row.get("owner"),
                peer: row.get("peer"),
                include: row.get("include"),
                exclude: row.get("exclude"),
                options: row.get("options"),
                policies: policies.iter().map(policy).collect::<Result<_>>()?,
                conflict_options: conflict_options.iter().map(conflict_option).collect::<Result<_>>()?,
                skips: row.get::<_, Vec<&str>>("skips").into_iter().map(str::parse).collect::<Result<_>>()?,
                lineage: Lineage {
                    system_identifier: row.get("system_identifier"),
                    database_oid: row.get("database_oid"),
                    timeline: row.get("timeline"),
                },
                desired: Desired::parse(row.get("desired")).ok_or_else(|| unknown_word(row.get("desired")))?,
                serial: row.get("desired_serial"),
                seen_serial: row.get("seen_serial"),
                force: row.get("desired_force"),
                state: Actual::parse(row.get("state")).ok_or_else(|| unknown_word(row.get("state")))?,
                stage: row.get("stage"),
                cleaning: row.get("cleaning"),
            })
        };
        rows.iter().map(read).collect()
    }

    /// The lineage of the database that this connection leads to.
    pub async fn lineage(&self) -> Result<Lineage> {
        let row = self.client.query_one(include_str!("../../../sql/store/lineage.sql"), &[]).await;
        let row = row.map_err(|e| server_error(e, "read the identity of the source"))?;
        Ok(Lineage {
            system_identifier: row.get("system_identifier"),
            database_oid: row.get("database_oid"),
            timeline: row.get("timeline"),
        })
    }

    /// Moves a task to a state, with the error that led there; gives the state before.
    pub async fn set_state(&self, task: &TaskRow, state: Actual, error: Option<&Error>) -> Result<Option<String>> {
        let (sqlstate, message) = (error.map(|e| e.sqlstate().to_owned()), error.map(|e| e.message.clone()));
        let (detail, hint) = (error.and_then(|e| e.detail.clone()), error.and_then(|e| e.hint.clone()));
        let object = error.and_then(|e| e.object.clone());
        let sql = include_str!("../../../sql/store/set_state.sql");
        let rows = self
            .rows(
                "write the state",
                sql,
                &[&task.id, &state.as_str(), &task.serial, &sqlstate, &message, &detail, &hint, &object, &task.direction.as_str()],
            )
            .await?;
        Ok(rows.first().and_then(|r| r.get(0)))
    }

    /// What keeps a task from going on that goes on otherwise; none when nothing does any more.
    pub async fn set_error(&self, task: &TaskRow, error: Option<&Event>) -> Result<()> {
        let sql = include_str!("../../../sql/store/set_error.sql");
        let (sqlstate, message) = (error.and_then(|e| e.sqlstate.as_deref()), error.map(|e| e.message.as_str()));
        let (detail, hint) = (error.and_then(|e| e.detail.as_deref()), error.and_then(|e| e.hint.as_deref()));
        let object = error.and_then(|e| e.object.as_deref());
        self.write("write what keeps the task", sql, &[&task.id, &sqlstate, &message, &detail, &hint, &object, &task.direction.as_str()])
            .await
            .map(drop)
    }

    /// The task comes to a stage. Written before anything of the stage is done, so that a clean-up knows where to look.
    pub async fn set_stage(&self, task: &TaskRow, stage: &str) -> Result<()> {
        let sql = "UPDATE pgrelay.task_actual SET stage = $2 WHERE task_id = $1 AND direction = $3";
        self.write("write the stage", sql, &[&task.id, &stage, &task.direction.as_str()]).await.map(drop)
    }

    /// Clean-up begins. Written before the first thing is taken away.
    pub async fn set_cleaning(&self, id: i64) -> Result<()> {
        self.write(
            "write that clean-up begins",
            "UPDATE pgrelay.task_actual SET cleaning = true WHERE task_id = $1 AND direction = 'forward'",
            &[&id],
        )
        .await
        .map(drop)
    }

    /// A position that the peer has reached, as far as the source knows.
    pub async fn peer_position(&self, task: &TaskRow) -> Result<Option<Lsn>> {
        let sql = "SELECT peer_lsn::text FROM pgrelay.task_actual WHERE task_id = $1 AND direction = $2";
        let rows = self.rows("read the peer's position", sql, &[&task.id, &task.direction.as_str()]).await?;
        let position: Option<String> = rows.first().and_then(|r| r.get(0));
        position.map(|p| p.parse()).transpose()
    }

    /// Which of some tables the task's owner may not read.
    pub async fn unreadable(&self, task: &TaskRow, tables: &[&TableName]) -> Result<Vec<String>> {
        let schemas: Vec<&str> = tables.iter().map(|t| t.schema.as_str()).collect();
        let names: Vec<&str> = tables.iter().map(|t| t.name.as_str()).collect();
        let sql = include_str!("../../../sql/store/unreadable.sql");
        let rows = self.rows("look at the rights of the task's owner", sql, &[&task.owner, &schemas, &names]).await?;
        Ok(rows.iter().map(|r| r.get(0)).collect())
    }

    /// Something of the reverse direction of a task is about to be made. Written before.
    pub async fn begin_reverse(&self, id: i64) -> Result<()> {
        self.write("write that the reverse direction begins", include_str!("../../../sql/store/begin_reverse.sql"), &[&id]).await.map(drop)
    }

    /// Something of the reverse direction is about to be taken away, so that not all of it is there any more. Written before.
    pub async fn begin_reverse_removal(&self, id: i64) -> Result<()> {
        let sql = "UPDATE pgrelay.task_actual SET stage = 'schema' WHERE task_id = $1 AND direction = 'reverse'";
        self.write("write that the reverse direction ends", sql, &[&id]).await.map(drop)
    }

    /// The reverse direction has ended with the task.
    pub async fn stop_reverse(&self, id: i64) -> Result<()> {
        self.write("write that the reverse direction has ended", include_str!("../../../sql/store/stop_reverse.sql"), &[&id])
            .await
            .map(drop)
    }

    /// Whether something of the reverse direction of a task may be on the servers.
    pub async fn has_reverse(&self, id: i64) -> Result<bool> {
        let sql = "SELECT FROM pgrelay.task_actual WHERE task_id = $1 AND direction = 'reverse' AND stage IS NOT NULL";
        Ok(!self.rows("read the state", sql, &[&id]).await?.is_empty())
    }

    /// Nothing is left of the reverse direction of a task.
    pub async fn forget_reverse(&self, id: i64) -> Result<()> {
        self.write("forget a direction", "DELETE FROM pgrelay.task_actual WHERE task_id = $1 AND direction = 'reverse'", &[&id])
            .await
            .map(drop)
    }

    /// Forgets a task whose clean-up is done.
    pub async fn delete_task(&self, id: i64) -> Result<()> {
        self.write("remove the task", "DELETE FROM pgrelay.task WHERE id = $1", &[&id]).await.map(drop)
    }
}
