//! Versions and settings of both servers, and what they have free.

use super::{Facts, PEER, PeerRights, SOURCE, ServerFacts, error, ok, warning};
use crate::{finding::Finding, name::quote_literal};

/// The oldest major that pgrelay reads from and writes to.
const OLDEST_MAJOR: i32 = 15;
/// Connections that the applier opens on a side besides those of the copy: its own, the control of the task, the apply.
const CONNECTIONS_BESIDES_COPY: i64 = 3;
/// On the peer one more reads the records of conflicts.
const CONNECTIONS_FOR_CONFLICTS: i64 = 1;
/// Below this a busy applier may be taken for dead; milliseconds.
const SMALL_WAL_SENDER_TIMEOUT: i64 = 10_000;
/// An open transaction of this age is worth a warning: a slot cannot be created before it ends; seconds.
const LONG_TRANSACTION: i64 = 60;

pub(super) fn version(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "version";
    let source = &facts.source.server;
    let too_old = |side: &str, server: &ServerFacts| {
        error(
            ITEM,
            side,
            format!("PostgreSQL {} is older than {OLDEST_MAJOR}", server.version),
            format!("Upgrade the {side} to PostgreSQL {OLDEST_MAJOR} or later."),
        )
    };
    out.push(match source.major() < OLDEST_MAJOR {
        true => too_old(SOURCE, source),
        false => ok(ITEM, SOURCE, format!("PostgreSQL {}", source.version)),
    });
    let Ok(peer) = &facts.peer else { return };
    out.push(if peer.server.major() < OLDEST_MAJOR {
        too_old(PEER, &peer.server)
    } else if peer.server.major() < source.major() {
        error(
            ITEM,
            PEER,
            format!("the peer's PostgreSQL {} is older than the source's {}", peer.server.version, source.version),
            format!("Use a peer of PostgreSQL {} or later.", source.major()),
        )
    } else {
        ok(ITEM, PEER, format!("PostgreSQL {}", peer.server.version))
    });
}

pub(super) fn wal_level(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "wal_level";
    if !facts.options.stages.stream {
        return;
    }
    let level = &facts.source.replication.wal_level;
    out.push(if level == "logical" {
        ok(ITEM, SOURCE, "wal_level is logical")
    } else {
        error(
            ITEM,
            SOURCE,
            format!("wal_level is {level}, a stream needs logical"),
            "ALTER SYSTEM SET wal_level = 'logical'; -- then restart the server",
        )
    });
}

pub(super) fn replication_slots(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "replication_slots";
    let replication = &facts.source.replication;
    if !facts.options.stages.stream {
        return;
    }
    let used = replication.slots.iter().filter(|s| s.name != replication.own_slot).count() as i64;
    let limit = replication.max_replication_slots;
    out.push(if used < limit {
        ok(ITEM, SOURCE, format!("{} of {limit} replication slots are free, a task needs 1", limit - used))
    } else {
        error(
            ITEM,
            SOURCE,
            format!("all {limit} replication slots are in use, the task needs 1"),
            format!("ALTER SYSTEM SET max_replication_slots = {}; -- then restart the server, or drop a slot that nobody needs", used + 1),
        )
    });
}

pub(super) fn wal_senders(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "wal_senders";
    let replication = &facts.source.replication;
    if !facts.options.stages.stream {
        return;
    }
    let own = replication.slots.iter().find(|s| s.name == replication.own_slot).and_then(|s| s.active_pid);
    let used = replication.walsenders.iter().filter(|&&pid| Some(pid) != own).count() as i64;
    let limit = replication.max_wal_senders;
    out.push(if used < limit {
        ok(ITEM, SOURCE, format!("{} of {limit} walsenders are free, a task needs 1", limit - used))
    } else {
        error(
            ITEM,
            SOURCE,
            format!("all {limit} walsenders are in use, the task needs 1"),
            format!("ALTER SYSTEM SET max_wal_senders = {}; -- then restart the server", used + 1),
        )
    });
}

pub(super) fn slot_limits(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "slot_limits";
    let replication = &facts.source.replication;
    if !facts.options.stages.stream {
        return;
    }
    let before = out.len();
    if replication.max_slot_wal_keep_size >= 0 {
        out.push(warning(
            ITEM,
            SOURCE,
            format!(
                "max_slot_wal_keep_size is {} MB: a slot that falls further behind is lost, and the task with it",
                replication.max_slot_wal_keep_size
            ),
            "ALTER SYSTEM SET max_slot_wal_keep_size = -1; -- then SELECT pg_reload_conf();",
        ));
    }
    if let Some(seconds) = replication.idle_replication_slot_timeout.filter(|&s| s > 0) {
        out.push(warning(
            ITEM,
            SOURCE,
            format!("idle_replication_slot_timeout is {seconds} s: the slot of a task that is paused longer is lost"),
            "ALTER SYSTEM SET idle_replication_slot_timeout = 0; -- then SELECT pg_reload_conf();",
        ));
    }
    if out.len() == before {
        out.push(ok(ITEM, SOURCE, "no setting takes a slot away that falls behind"));
    }
}

pub(super) fn wal_sender_timeout(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "wal_sender_timeout";
    let timeout = facts.source.replication.wal_sender_timeout;
    if !facts.options.stages.stream {
        return;
    }
    out.push(if timeout > 0 && timeout < SMALL_WAL_SENDER_TIMEOUT {
        warning(
            ITEM,
            SOURCE,
            format!("wal_sender_timeout is {timeout} ms: a short pause of the network cuts the stream"),
            "ALTER SYSTEM SET wal_sender_timeout = '60s'; -- then SELECT pg_reload_conf();",
        )
    } else {
        ok(ITEM, SOURCE, format!("wal_sender_timeout is {timeout} ms"))
    });
}

pub(super) fn synchronous_standby_names(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "synchronous_standby_names";
    if !facts.options.stages.stream {
        return;
    }
    let names = &facts.source.replication.synchronous_standby_names;
    let any = names.split([',', '(', ')', ' ', '"']).any(|name| name == "*");
    out.push(if any {
        error(
            ITEM,
            SOURCE,
            "synchronous_standby_names takes any connection for a standby: commits on the source would wait for the peer",
            "ALTER SYSTEM SET synchronous_standby_names = 'standby1, standby2'; -- the names of the standbys; then SELECT pg_reload_conf();",
        )
    } else {
        ok(ITEM, SOURCE, "commits on the source do not wait for the peer".to_owned())
    });
}

pub(super) fn replication_origins(facts: &Facts, out: &mut Vec<Finding>) {
    let Ok(peer) = &facts.peer else { return };
    let stages = facts.options.stages;
    let needed = i64::from(stages.stream) + if stages.copy { i64::from(facts.options.copy_jobs) } else { 0 };
    // Who may not use origins does without.
    if needed == 0 || peer.rights.functions.iter().any(|f| !f.execute) {
        return;
    }
    free_origins(PEER, &peer.rights, &peer.own_origin, needed, out);
    if let Some(reverse) = &facts.reverse {
        // One to apply what comes from the peer.
        free_origins(SOURCE, &reverse.rights, &peer.own_origin, 1, out);
    }
}

/// Whether an origin is the task's whose own this one is.
pub(super) fn is_of_task(origin: &str, own: &str) -> bool {
    origin.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

fn free_origins(side: &str, rights: &PeerRights, own: &str, needed: i64, out: &mut Vec<Finding>) {
    const ITEM: &str = "replication_origins";
    let used = rights.origins.iter().filter(|origin| !is_of_task(origin, own)).count() as i64;
    let (limit, setting) = (rights.origin_limit, &rights.origin_limit_setting);
    out.push(if used + needed <= limit {
        ok(ITEM, side, format!("{} of {limit} replication origins are free ({setting}), the task needs {needed}", limit - used))
    } else {
        error(
            ITEM,
            side,
            format!(
                "{} of {limit} replication origins are free ({setting}), the task needs {needed}: one to apply and one per copy job",
                (limit - used).max(0)
            ),
            format!("ALTER SYSTEM SET {setting} = {}; -- then restart the server, or lower the option copy_jobs", used + needed),
        )
    });
}

pub(super) fn connections(facts: &Facts, out: &mut Vec<Finding>) {
    let copies = if facts.options.stages.copy { i64::from(facts.options.copy_jobs) } else { 0 };
    let needed = CONNECTIONS_BESIDES_COPY + copies;
    out.push(connections_of(SOURCE, &facts.source.server, needed));
    if let Ok(peer) = &facts.peer {
        // Those that copy, read marks, and build.
        out.push(connections_of(PEER, &peer.server, needed + 2 * copies + CONNECTIONS_FOR_CONFLICTS));
    }
}

fn connections_of(side: &str, server: &ServerFacts, needed: i64) -> Finding {
    const ITEM: &str = "connections";
    let free = server.max_connections - server.reserved_connections - server.used_connections;
    let free_here = server.database_connection_limit - server.database_connections;
    if free < needed {
        return error(
            ITEM,
            side,
            format!("{} of {} connections are free, the task needs {needed}", free.max(0), server.max_connections),
            format!(
                "ALTER SYSTEM SET max_connections = {}; -- then restart the server, or lower the option copy_jobs",
                server.max_connections + needed - free
            ),
        );
    }
    if server.database_connection_limit >= 0 && !server.role.superuser && free_here < needed {
        return error(
            ITEM,
            side,
            format!(
                "the database allows {} connections, {} are free, the task needs {needed}",
                server.database_connection_limit,
                free_here.max(0)
            ),
            format!(
                "ALTER DATABASE {} CONNECTION LIMIT {};",
                crate::name::quote_ident(&server.database),
                server.database_connection_limit + needed - free_here
            ),
        );
    }
    ok(ITEM, side, format!("{free} connections are free, the task needs {needed}"))
}

pub(super) fn encoding(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "encoding";
    let Ok(peer) = &facts.peer else { return };
    let (from, to) = (facts.source.server.encoding.as_str(), peer.server.encoding.as_str());
    let anew = format!("CREATE DATABASE … ENCODING {} TEMPLATE template0; -- and name it as the peer", quote_literal(from).trim());
    out.push(if from == to {
        ok(ITEM, PEER, format!("both databases are encoded in {to}"))
    } else if from == "SQL_ASCII" || to == "SQL_ASCII" {
        warning(
            ITEM,
            PEER,
            format!("the source is encoded in {from}, the peer in {to}: SQL_ASCII converts nothing, so a text may be refused or mean something else"),
            anew,
        )
    } else if to == "UTF8" {
        ok(ITEM, PEER, format!("the peer's UTF8 holds every character of the source's {from}"))
    } else {
        error(ITEM, PEER, format!("the peer's encoding {to} does not hold every character of the source's {from}"), anew)
    });
}

pub(super) fn locale(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "locale";
    let Ok(peer) = &facts.peer else { return };
    let (from, to) = (&facts.source.server, &peer.server);
    let mut differ = Vec::new();
    let mut compare = |what: &str, from: &str, to: &str| {
        if from != to {
            differ.push(format!("{what} is \"{from}\" on the source and \"{to}\" on the peer"));
        }
    };
    compare("the locale provider", &from.locale_provider, &to.locale_provider);
    compare("the provider's locale", from.locale.as_deref().unwrap_or(""), to.locale.as_deref().unwrap_or(""));
    compare("LC_COLLATE", &from.collate, &to.collate);
    compare("LC_CTYPE", &from.ctype, &to.ctype);
    out.push(if differ.is_empty() {
        ok(ITEM, PEER, "both databases have the same locale")
    } else {
        warning(
            ITEM,
            PEER,
            format!("texts may sort and compare differently: {}", differ.join(", ")),
            format!(
                "CREATE DATABASE … TEMPLATE template0 LOCALE_PROVIDER {} LC_COLLATE {} LC_CTYPE {}{}; -- and name it as the peer",
                from.locale_provider,
                quote_literal(&from.collate).trim(),
                quote_literal(&from.ctype).trim(),
                match (&from.locale, from.locale_provider.as_str()) {
                    (Some(locale), "icu") => format!(" ICU_LOCALE {}", quote_literal(locale).trim()),
                    (Some(locale), _) => format!(" BUILTIN_LOCALE {}", quote_literal(locale).trim()),
                    (None, _) => String::new(),
                }
            ),
        )
    });
}

pub(super) fn long_transactions(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "long_transactions";
    let replication = &facts.source.replication;
    if !facts.options.stages.stream {
        return;
    }
    let mut old = replication.transactions.iter().filter(|t| t.age >= LONG_TRANSACTION).peekable();
    if old.peek().is_none() {
        out.push(if replication.sees_all_sessions {
            ok(ITEM, SOURCE, format!("no transaction that writes is older than {LONG_TRANSACTION} s"))
        } else {
            let mut finding = ok(
                ITEM,
                SOURCE,
                format!(
                    "no transaction that writes is older than {LONG_TRANSACTION} s, as far as role \"{}\" sees other sessions",
                    facts.source.server.role.name
                ),
            );
            finding.fix = Some(format!("GRANT pg_read_all_stats TO {};", crate::name::quote_ident(&facts.source.server.role.name)));
            finding
        });
        return;
    }
    out.extend(old.map(|t| {
        let database = t.database.as_deref().unwrap_or("");
        warning(
            ITEM,
            format!("process {}", t.pid),
            format!("a transaction in database \"{database}\" has been open for {} s; the slot cannot be created before it ends", t.age),
            format!("SELECT pg_terminate_backend({}); -- or wait for it to end", t.pid),
        )
    }));
}

pub(super) fn prepared_transactions(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "prepared_transactions";
    let prepared = &facts.source.replication.prepared;
    if !facts.options.stages.stream {
        return;
    }
    if prepared.is_empty() {
        out.push(ok(ITEM, SOURCE, "no transaction is prepared"));
    }
    out.extend(prepared.iter().map(|p| {
        warning(
            ITEM,
            format!("prepared transaction {}", p.gid),
            format!("prepared {} s ago in database \"{}\"; the slot cannot be created before it ends", p.age, p.database),
            format!("COMMIT PREPARED {}; -- or ROLLBACK PREPARED, in that database", quote_literal(&p.gid).trim()),
        )
    }));
}

/// Whether a transaction that is prepared on the source is prepared on the peer, or arrives when it is committed: both are right.
pub(super) fn two_phase(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "two_phase";
    let Ok(peer) = &facts.peer else { return };
    if !facts.options.stages.stream {
        return;
    }
    let (most, room) = (facts.source.replication.max_prepared_transactions, peer.rights.max_prepared_transactions);
    let committed = "transactions that the source prepares arrive when they are committed";
    out.push(match () {
        () if most == 0 => ok(ITEM, SOURCE, "no transaction can be prepared on the source"),
        () if facts.options.is_two_way() => ok(ITEM, PEER, format!("{committed}: a two-way task prepares none on the other side")),
        () if facts.source.server.version_num < 150_000 => {
            ok(ITEM, SOURCE, format!("{committed}: a source before PostgreSQL 15 does not send them before"))
        }
        () if room < most => {
            let message = format!("{committed}: the peer has max_prepared_transactions = {room}, the source {most}");
            let fix =
                format!("ALTER SYSTEM SET max_prepared_transactions = {most}; -- then restart the server; they are prepared on it then");
            Finding { fix: Some(fix), ..ok(ITEM, PEER, message) }
        }
        () => ok(ITEM, PEER, "transactions that the source prepares are prepared on the peer too, once all tables stream"),
    });
}
