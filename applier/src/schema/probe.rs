//! What the peer lacks for functions in C and of the server itself: they are made there in a transaction that is rolled back.
//!
//! Only the server knows whether it has a library, the symbol in it, and the right to use both.

use std::collections::{HashMap, HashSet};

use pgrelay_core::{
    Result,
    plan::{Item, Lack, Lacks, Plan, When},
};
use tokio_postgres::{Client, Transaction};

use super::carry_out::SETTINGS;
use crate::pg::server_error;

const DOING: &str = "cannot try out on the peer what functions need";

/// Whoever waits for a lock on the peer that long is not stopped by a look.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '10s'";

/// Event triggers need not see what is not to stay; without the right to that they do.
const REPLICA: &str = "SET LOCAL session_replication_role = 'replica'";

/// Something of that name is there (schema, object, function, relation): another check judges that.
const DUPLICATE: [&str; 4] = ["42P06", "42710", "42723", "42P07"];

/// Which of the plan's low-level functions, and of what they need first, cannot be made on the peer, with the server's reason.
/// What only fails because of those is not listed.
///
/// Errors: what the server says when it cannot be asked now (connection, resources, locks).
pub async fn probe(peer: &mut Client, plan: &Plan) -> Result<Lacks> {
    let mut lacks = Lacks::new();
    if plan.low_level().is_empty() {
        return Ok(lacks);
    }
    let transaction = peer.transaction().await.map_err(|e| server_error(e, DOING))?;
    transaction.batch_execute(&format!("{SETTINGS}; {LOCK_TIMEOUT}")).await.map_err(|e| server_error(e, DOING))?;
    attempt(&transaction, REPLICA).await?;
    let mut failed: HashSet<&str> = HashSet::new();
    for item in needed(plan) {
        let first = item.depends_on.iter().all(|d| !failed.contains(d.as_str()));
        let lack = if first { make(&transaction, item).await? } else { None };
        if lack.is_some() || !first {
            failed.insert(&item.identity);
        }
        lacks.extend(lack.map(|lack| (item.identity.clone(), lack)));
    }
    transaction.rollback().await.map_err(|e| server_error(e, DOING))?;
    Ok(lacks)
}

/// The low-level functions and everything that they need, in the plan's order.
fn needed(plan: &Plan) -> Vec<&Item> {
    let by_identity: HashMap<&str, &Item> = plan.items.iter().map(|i| (i.identity.as_str(), i)).collect();
    let mut open: Vec<&str> = plan.low_level().iter().map(String::as_str).collect();
    let mut needed: HashSet<&str> = open.iter().copied().collect();
    while let Some(next) = open.pop() {
        let needs = by_identity.get(next).into_iter().flat_map(|i| &i.depends_on).map(String::as_str);
        open.extend(needs.filter(|n| needed.insert(n)));
    }
    let early = |i: &&Item| i.when == When::BeforeData && needed.contains(i.identity.as_str());
    plan.items.iter().filter(early).collect()
}

/// With its owner; or without, since a missing role is a finding of its own.
async fn make(transaction: &Transaction<'_>, item: &Item) -> Result<Option<Lack>> {
    let Some(refusal) = attempt(transaction, &item.ddl).await? else { return Ok(None) };
    if let Some((without_owner, _)) = item.ddl.split_once("\nALTER ")
        && attempt(transaction, without_owner).await?.is_none()
    {
        return Ok(None);
    }
    Ok(Some(Lack { reason: refusal, fix: Some(format!("Install on the peer's server what {} needs, or leave it out.", item.identity)) }))
}

/// Runs statements under a savepoint. The server's refusal, if there is one.
async fn attempt(transaction: &Transaction<'_>, sql: &str) -> Result<Option<String>> {
    let ran = transaction.batch_execute(&format!("SAVEPOINT pgrelay;\n{sql}\n;RELEASE SAVEPOINT pgrelay")).await;
    let Err(error) = ran else { return Ok(None) };
    let code = error.code().map(|c| c.code().to_owned());
    let transient = code.as_deref().is_none_or(|c| ["08", "40", "53", "57"].contains(&&c[..2]) || c == "55P03");
    let message = error.as_db_error().map(|e| e.message().to_owned()).unwrap_or_default();
    if transient {
        return Err(server_error(error, DOING));
    }
    let back = "ROLLBACK TO SAVEPOINT pgrelay; RELEASE SAVEPOINT pgrelay";
    transaction.batch_execute(back).await.map_err(|e| server_error(e, DOING))?;
    Ok((!code.is_some_and(|c| DUPLICATE.contains(&c.as_str()))).then_some(message))
}
