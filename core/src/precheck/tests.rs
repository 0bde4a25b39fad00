//! Each rule on facts that are well but for one thing.

use serde_json::json;

use super::*;
use crate::{
    conflict::{Override, Policy},
    plan::{Item, Plan, Section, When},
    task::{Keyless, Options, Stages, Tablespaces},
};

fn server(identifier: i64) -> ServerFacts {
    serde_json::from_value(json!({
        "version_num": 150004, "version": "15.4", "system_identifier": identifier, "database_oid": 5, "database": "app",
        "timeline": 1, "in_recovery": false, "read_only": false, "encoding": "UTF8", "collate": "C", "ctype": "C",
        "locale_provider": "libc", "locale": null, "lc_monetary": "C", "track_commit_timestamp": false, "max_connections": 100, "reserved_connections": 3,
        "used_connections": 10, "database_connection_limit": -1, "database_connections": 5,
        "role": {"name": "relay", "superuser": false, "replication": true, "bypass_rls": false, "create_in_database": true}
    }))
    .expect("facts of a server")
}

fn table(name: &str) -> TableFacts {
    serde_json::from_value(json!({
        "schema": "shop", "name": name, "kind": "r", "persistence": "p", "replica_identity": "d", "primary_key": true,
        "identity_index": false, "candidate_index": null, "owner": "ann", "owner_superuser": false, "owned": true,
        "schema_usage": true, "select": true, "row_security_active": false, "row_security": false, "row_security_forced": false,
        "tablespace": null, "money": false, "replica_triggers": [], "risks": [], "references": [], "parents": []
    }))
    .expect("facts of a table")
}

fn peer_table(name: &str) -> PeerTableFacts {
    serde_json::from_value(json!({
        "schema": "shop", "name": name, "lacks": [], "schema_usage": true, "row_security_active": false, "has_pages": false, "owner": "ann", "can_act": true,
        "replica_triggers": []
    }))
    .expect("facts of a table of the peer")
}

fn object(kind: &str, name: &str) -> ObjectFacts {
    ObjectFacts { kind: kind.into(), name: name.into() }
}

fn well() -> Facts {
    let replication = serde_json::from_value(json!({
        "wal_level": "logical", "max_replication_slots": 2, "slots": [{"name": "other", "active_pid": 7}], "max_wal_senders": 2,
        "walsenders": [7], "max_slot_wal_keep_size": -1, "wal_sender_timeout": 60000, "synchronous_standby_names": "", "idle_replication_slot_timeout": null,
        "max_prepared_transactions": 0, "prepared": [], "transactions": [], "sees_all_sessions": true, "large_objects": 0, "large_objects_unreadable": 0, "applier_member": true,
        "own_slot": "own"
    }));
    let rights = serde_json::from_value(json!({
        "set_replication_role": true, "functions": [{"signature": "f(text)", "execute": true}], "origins": ["other"],
        "origin_limit_setting": "max_replication_slots", "origin_limit": 10,
        "roles": [{"name": "ann", "can_set": true}, {"name": "bob", "can_set": false}],
        "extensions": [{"name": "citext", "default_version": "1.6", "installed_version": null, "creatable": true}],
        "max_prepared_transactions": 10, "large_objects": false, "tablespaces": [], "event_triggers": [], "own_schema": "absent"
    }));
    Facts {
        source: SourceFacts {
            server: server(1),
            replication: replication.expect("facts of replication"),
            tables: vec![table("orders")],
            sequences: vec![SequenceFacts { schema: "shop".into(), name: "ids".into(), schema_usage: true, select: true }],
            roles: vec![RoleNeeded { name: "ann".into(), owns: true }, RoleNeeded { name: "bob".into(), owns: false }],
            extensions: vec![ExtensionInUse { name: "citext".into(), version: "1.6".into() }],
        },
        peer: Ok(PeerFacts {
            server: server(2),
            rights: rights.expect("rights on the peer"),
            objects: vec![],
            schemas: vec![SchemaFacts { name: "public".into(), create: false }],
            tables: vec![],
            made: Default::default(),
            copied: Default::default(),
            own_origin: "origin".into(),
        }),
        options: Options::default(),
        rules: crate::conflict::Rules::default(),
        lineage: Some(Lineage { system_identifier: 1, database_oid: 5, timeline: 1 }),
        interleaved: Default::default(),
        reverse: None,
        plan: PlanFacts {
            kept_tables: Default::default(),
            objects: vec![
                object("schema", "shop"),
                object("extension", "citext"),
                object("table", "shop.orders"),
                object("schema", "public"),
            ],
            roles: ["ann".to_string(), "bob".to_string()].into(),
            tablespaces: ["fast".to_string()].into(),
        },
    }
}

fn peer(facts: &mut Facts) -> &mut PeerFacts {
    facts.peer.as_mut().expect("a peer that answers")
}

/// What is not `ok` after one change of the facts.
fn bad(change: impl FnOnce(&mut Facts)) -> Vec<Finding> {
    let mut facts = well();
    change(&mut facts);
    run(&facts).into_iter().filter(|f| f.severity != Severity::Ok).collect()
}

/// Exactly one finding is not ok: of this item and severity, with a fix that holds `fix`.
#[track_caller]
fn one(item: &str, severity: Severity, fix: &str, change: impl FnOnce(&mut Facts)) {
    let found = bad(change);
    assert_eq!(found.iter().map(|f| (f.item, f.severity)).collect::<Vec<_>>(), [(item, severity)], "{found:#?}");
    let said = found[0].fix.as_deref().expect("a fix");
    assert!(said.contains(fix), "{said}");
    assert!(!found[0].object.is_empty() && !found[0].message.ends_with('.'), "{found:#?}");
}

#[track_caller]
fn error(item: &str, fix: &str, change: impl FnOnce(&mut Facts)) {
    one(item, Severity::Error, fix, change);
}

#[track_caller]
fn warning(item: &str, fix: &str, change: impl FnOnce(&mut Facts)) {
    one(item, Severity::Warning, fix, change);
}

#[track_caller]
fn nothing(change: impl FnOnce(&mut Facts)) {
    let found = bad(change);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn what_is_well_is_said_once_per_item_and_side() {
    let findings = run(&well());
    assert!(findings.iter().all(|f| f.severity == Severity::Ok), "{findings:#?}");
    let mut said: Vec<_> = findings.iter().map(|f| (f.item, f.object.clone())).collect();
    let count = said.len();
    said.sort();
    said.dedup();
    assert_eq!(said.len(), count);
    let checked: std::collections::BTreeSet<_> = findings.iter().map(|f| f.item).collect();
    let missing: Vec<_> = CHECKS.iter().map(|(item, _)| *item).filter(|item| !checked.contains(item)).collect();
    let (reverse, missing): (Vec<_>, Vec<_>) =
        missing.into_iter().partition(|item| item.starts_with("reverse_") || item.starts_with("two_way_"));
    assert_eq!(missing, ["peer_table_owners", "peer_tables"], "which is for tasks without the schema stage");
    assert_eq!(reverse.len(), 8, "which are for two-way tasks");
}

#[test]
fn every_check_carries_its_own_item() {
    let mut without_schema = well();
    without_schema.options.stages.schema = false;
    for facts in [well(), without_schema] {
        for (item, check) in CHECKS {
            let mut out = Vec::new();
            check(&facts, &mut out);
            assert!(out.iter().all(|f| f.item == *item), "{item}");
        }
    }
}

#[test]
fn the_docs_list_the_items_of_the_code() {
    let docs = include_str!("../../../docs/precheck.md");
    let listed: Vec<&str> = docs.lines().filter_map(|l| l.strip_prefix("### `")?.strip_suffix('`')).collect();
    assert_eq!(listed, CHECKS.iter().map(|(item, _)| *item).collect::<Vec<_>>());
}

#[test]
fn a_peer_that_cannot_be_asked_is_one_error_and_nothing_is_said_of_it() {
    let gone = || Err(Unreachable { message: "connection refused".into(), hint: Some("Start it.".into()) });
    error("peer_connection", "Start it.", |f| f.peer = gone());
    let mut facts = well();
    facts.peer = gone();
    assert_eq!(run(&facts).iter().filter(|f| f.object == PEER).count(), 1);
}

#[test]
fn both_databases_are_the_right_ones() {
    error("different_databases", "another database", |f| peer(f).server.system_identifier = 1);
    nothing(|f| {
        peer(f).server.system_identifier = 1;
        peer(f).server.database_oid = 6;
    });
    error("source_primary", "pg_promote", |f| f.source.server.in_recovery = true);
    error("peer_writable", "pg_promote", |f| peer(f).server.in_recovery = true);
    error("peer_writable", "ALTER DATABASE \"app\"", |f| peer(f).server.read_only = true);
    for made in [(9, 5, 1), (1, 9, 1), (1, 5, 9)] {
        let (system_identifier, database_oid, timeline) = made;
        error("lineage", "create it anew", |f| f.lineage = Some(Lineage { system_identifier, database_oid, timeline }));
    }
    nothing(|f| f.lineage = None);
}

#[test]
fn versions() {
    error("version", "Upgrade the source", |f| f.source.server.version_num = 140010);
    error("version", "PostgreSQL 16 or later", |f| f.source.server.version_num = 160001);
    nothing(|f| peer(f).server.version_num = 180001);
}

#[test]
fn what_the_stream_needs_of_the_source() {
    error("wal_level", "wal_level = 'logical'", |f| f.source.replication.wal_level = "replica".into());
    error("replication_slots", "max_replication_slots = 2", |f| f.source.replication.max_replication_slots = 1);
    error("wal_senders", "max_wal_senders = 2", |f| f.source.replication.max_wal_senders = 1);
    warning("slot_limits", "max_slot_wal_keep_size = -1", |f| f.source.replication.max_slot_wal_keep_size = 100);
    warning("slot_limits", "idle_replication_slot_timeout = 0", |f| f.source.replication.idle_replication_slot_timeout = Some(60));
    nothing(|f| f.source.replication.idle_replication_slot_timeout = Some(0));
    warning("wal_sender_timeout", "60s", |f| f.source.replication.wal_sender_timeout = 500);
    nothing(|f| f.source.replication.wal_sender_timeout = 0);
    error("synchronous_standby_names", "standby1", |f| f.source.replication.synchronous_standby_names = "ANY 1 (a, *)".into());
    nothing(|f| f.source.replication.synchronous_standby_names = "FIRST 1 (a, \"b*\")".into());
    let open = |age| TransactionFacts { pid: 42, database: Some("app".into()), age };
    warning("long_transactions", "pg_terminate_backend(42)", |f| f.source.replication.transactions = vec![open(10), open(100)]);
    nothing(|f| f.source.replication.transactions = vec![open(59)]);
    let prepared = || vec![PreparedFacts { gid: "it's".into(), database: "app".into(), age: 1 }];
    warning("prepared_transactions", "COMMIT PREPARED 'it''s'", |f| f.source.replication.prepared = prepared());
}

#[test]
fn whether_prepared_transactions_are_prepared_on_the_peer_is_said_and_stops_nothing() {
    let said = |most: i64, room: i64, version: i32| {
        let mut facts = well();
        facts.source.replication.max_prepared_transactions = most;
        facts.source.server.version_num = version;
        peer(&mut facts).rights.max_prepared_transactions = room;
        let found = run(&facts).into_iter().find(|f| f.item == "two_phase").expect("said");
        assert_eq!(found.severity, Severity::Ok);
        (found.message, found.fix)
    };
    assert!(said(0, 0, 150_000).0.contains("no transaction can be prepared"));
    assert!(said(5, 5, 150_000).0.contains("are prepared on the peer"));
    assert!(said(5, 9, 140_000).0.contains("arrive when they are committed"));
    let (message, fix) = said(5, 4, 150_000);
    assert!(message.contains("arrive when they are committed") && fix.is_some_and(|f| f.contains("max_prepared_transactions = 5")));
}

#[test]
fn the_slot_and_walsender_of_the_task_itself_do_not_count() {
    nothing(|f| {
        f.source.replication.slots.push(SlotFacts { name: "own".into(), active_pid: Some(8) });
        f.source.replication.walsenders.push(8);
    });
}

#[test]
fn a_task_without_a_stream_asks_for_no_slot() {
    nothing(|f| {
        f.options.stages.stream = false;
        f.source.replication.wal_level = "minimal".into();
        f.source.replication.max_wal_senders = 0;
        f.source.replication.max_replication_slots = 0;
        f.source.server.role.replication = false;
        f.source.tables[0].primary_key = false;
    });
}

#[test]
fn room_on_both_servers() {
    error("replication_origins", "max_replication_slots = 6", |f| peer(f).rights.origin_limit = 5);
    nothing(|f| {
        peer(f).rights.origin_limit = 6;
        peer(f).rights.origins.extend(["origin".into(), "origin_copy_1".into()]);
    });
    error("connections", "max_connections = 105", |f| f.source.server.used_connections = 95);
    error("connections", "CONNECTION LIMIT 21", |f| peer(f).server.database_connection_limit = 12);
    nothing(|f| peer(f).server.database_connection_limit = 21);
}

#[test]
fn encodings_and_locales() {
    let encodings = |from: &'static str, to: &'static str| {
        move |f: &mut Facts| {
            f.source.server.encoding = from.into();
            peer(f).server.encoding = to.into();
        }
    };
    error("encoding", "ENCODING 'UTF8'", encodings("UTF8", "LATIN1"));
    nothing(encodings("LATIN1", "UTF8"));
    warning("encoding", "ENCODING", encodings("SQL_ASCII", "UTF8"));
    warning("locale", "LC_COLLATE 'C'", |f| peer(f).server.collate = "de_DE.UTF-8".into());
    warning("locale", "LOCALE_PROVIDER libc", |f| peer(f).server.locale_provider = "icu".into());
    nothing(|f| peer(f).server.lc_monetary = Some("de_DE.UTF-8".into()));
    warning("lc_monetary", "SET lc_monetary = 'C'", |f| {
        f.source.tables[0].money = true;
        peer(f).server.lc_monetary = Some("de_DE.UTF-8".into());
    });
}

#[test]
fn rights_on_the_source() {
    error("source_applier_role", "GRANT pgrelay_applier TO \"relay\"", |f| f.source.replication.applier_member = Some(false));
    nothing(|f| f.source.replication.applier_member = None);
    error("source_replication", "ALTER ROLE \"relay\" REPLICATION", |f| f.source.server.role.replication = false);
    error("source_select", "GRANT SELECT ON \"shop\".\"orders\" TO \"relay\"", |f| f.source.tables[0].select = false);
    error("source_select", "GRANT USAGE ON SCHEMA \"shop\" TO \"relay\"", |f| f.source.tables[0].schema_usage = false);
    error("source_select", "GRANT SELECT ON SEQUENCE \"shop\".\"ids\"", |f| f.source.sequences[0].select = false);
    error("source_publication", "GRANT CREATE ON DATABASE \"app\"", |f| f.source.server.role.create_in_database = false);
    error("source_publication", "GRANT \"ann\" TO \"relay\"", |f| {
        f.source.tables = ["a", "b", "c", "d"].map(table).into();
        f.source.tables.iter_mut().for_each(|t| t.owned = false);
    });
    error("source_publication", "OWNER TO", |f| {
        f.source.tables[0].owned = false;
        f.source.tables[0].owner_superuser = true;
    });
    error("source_row_security", "BYPASSRLS", |f| f.source.tables[0].row_security_active = true);
}

#[test]
fn rights_on_the_peer() {
    error("peer_create", "GRANT CREATE ON DATABASE \"app\"", |f| peer(f).server.role.create_in_database = false);
    error("peer_create", "same role", |f| peer(f).rights.own_schema = OwnSchema::Forbidden);
    error("peer_create", "ON SCHEMA \"public\" TO \"relay\"", |f| f.plan.objects.push(object("view", "public.v")));
    error("peer_apply", "session_replication_role TO \"relay\"", |f| peer(f).rights.set_replication_role = false);
    warning("peer_origin_functions", "GRANT EXECUTE ON FUNCTION f(text)", |f| peer(f).rights.functions[0].execute = false);
    error("peer_owners", "GRANT \"ann\" TO \"relay\"", |f| peer(f).rights.roles[0].can_set = false);
    error("peer_row_security", "BYPASSRLS", |f| {
        f.source.tables[0].row_security = true;
        f.source.tables[0].row_security_forced = true;
    });
    nothing(|f| f.source.tables[0].row_security = true);
}

#[test]
fn tables_without_replica_identity() {
    error("replica_identity", "ALTER TABLE \"shop\".\"orders\" REPLICA IDENTITY FULL", |f| f.source.tables[0].primary_key = false);
    error("replica_identity", "USING INDEX \"k\"", |f| {
        f.source.tables[0].primary_key = false;
        f.source.tables[0].candidate_index = Some("k".into());
    });
    error("replica_identity", "DEFAULT", |f| f.source.tables[0].replica_identity = 'n');
    error("replica_identity", "DEFAULT", |f| f.source.tables[0].replica_identity = 'i');
    warning("replica_identity", "FULL", |f| {
        f.options.keyless = Keyless::InsertOnly;
        f.source.tables[0].primary_key = false;
    });
    for identity in [('f', false, false), ('i', false, true), ('d', true, false)] {
        nothing(|f| {
            let table = &mut f.source.tables[0];
            (table.replica_identity, table.primary_key, table.identity_index) = identity;
        });
    }
    nothing(|f| {
        f.options.keyless = Keyless::Full;
        f.source.tables[0].primary_key = false;
    });
}

#[test]
fn what_is_carried_in_part() {
    warning("unlogged_tables", "SET LOGGED", |f| f.source.tables[0].persistence = 'u');
    warning("foreign_tables", "exclude", |f| f.source.tables[0].kind = 'f');
    warning("large_objects", "large_objects", |f| f.source.replication.large_objects = 3);
    let chosen = |f: &mut Facts| (f.options.large_objects, f.source.replication.large_objects) = (true, 3);
    warning("large_objects", "after the move", chosen);
    error("large_objects", "GRANT SELECT", |f| {
        chosen(f);
        f.source.replication.large_objects_unreadable = 1;
    });
    error("large_objects", "on the peer", |f| {
        chosen(f);
        peer(f).rights.large_objects = true;
    });
    nothing(|f| f.source.tables[0].tablespace = Some("fast".into()));
    let trigger = |always| vec![ReplicaTrigger { name: "t".into(), always }];
    warning("replica_triggers", "ENABLE TRIGGER \"t\"", |f| f.source.tables[0].replica_triggers = trigger(true));
    warning("replica_triggers", "DISABLE TRIGGER \"t\"", |f| f.source.tables[0].replica_triggers = trigger(false));
    warning("event_triggers", "ALTER EVENT TRIGGER \"e\" DISABLE", |f| peer(f).rights.event_triggers = vec!["e".into()]);
}

#[test]
fn what_the_peer_has_already() {
    let there = |kind: &str, name: &str| PeerObject { kind: kind.into(), name: name.into(), quoted: name.into() };
    error("existing_objects", "DROP VIEW shop.orders", |f| peer(f).objects.push(there("view", "shop.orders")));
    error("existing_objects", "DROP SCHEMA shop", |f| peer(f).objects.push(there("schema", "shop")));
    nothing(|f| peer(f).objects.extend([there("schema", "public"), there("table", "shop.other"), there("function", "shop.orders")]));
    nothing(|f| {
        peer(f).objects.push(there("table", "shop.orders"));
        peer(f).made.insert("table shop.orders".into());
    });
}

#[test]
fn without_the_schema_stage_the_tables_must_be_there() {
    let without = |change: fn(&mut Vec<PeerTableFacts>)| {
        move |f: &mut Facts| {
            f.options.stages = Stages { schema: false, copy: true, stream: true };
            peer(f).tables = vec![peer_table("orders")];
            change(&mut peer(f).tables);
        }
    };
    nothing(without(|_| {}));
    error("peer_tables", "Create the table", without(Vec::clear));
    error("peer_tables", "GRANT INSERT ON \"shop\".\"orders\"", without(|t| t[0].lacks = vec!["INSERT".into()]));
    error("peer_tables", "GRANT USAGE", without(|t| t[0].schema_usage = false));
    nothing(without(|t| t[0].can_act = false));
    error("peer_row_security", "BYPASSRLS", without(|t| t[0].row_security_active = true));
    warning("peer_tables", "TRUNCATE", without(|t| t[0].has_pages = true));
    warning(
        "replica_triggers",
        "on the peer",
        without(|t| t[0].replica_triggers = vec![ReplicaTrigger { name: "t".into(), always: true }]),
    );
    // With it too, as of a task that runs; one that the source has is told once.
    let of_its_own = |f: &mut Facts| {
        peer(f).tables =
            vec![PeerTableFacts { replica_triggers: vec![ReplicaTrigger { name: "t".into(), always: true }], ..peer_table("orders") }];
    };
    warning("replica_triggers", "on the peer", of_its_own);
    warning("replica_triggers", "on the source", |f| {
        peer(f).tables =
            vec![PeerTableFacts { replica_triggers: vec![ReplicaTrigger { name: "t".into(), always: true }], ..peer_table("orders") }];
        f.source.tables[0].replica_triggers = vec![ReplicaTrigger { name: "t".into(), always: true }];
    });
    nothing(|f| {
        without(|t| t[0].has_pages = true)(f);
        peer(f).copied.insert(("shop".into(), "orders".into()));
    });
}

#[test]
fn roles_and_extensions_that_the_peer_lacks() {
    error("peer_roles", "CREATE ROLE \"cy\";", |f| f.source.roles.push(RoleNeeded { name: "cy".into(), owns: false }));
    error("peer_roles", "GRANT \"cy\" TO \"relay\"", |f| f.source.roles.push(RoleNeeded { name: "cy".into(), owns: true }));
    error("tablespaces", "CREATE TABLESPACE \"fast\"", |f| f.options.tablespaces = Tablespaces::Keep);
    nothing(|f| {
        f.options.tablespaces = Tablespaces::Keep;
        peer(f).rights.tablespaces.insert("fast".into());
    });
    error("extensions", "Install", |f| peer(f).rights.extensions.clear());
    error("extensions", "Install", |f| f.source.extensions[0].version = "1.10".into());
    error("extensions", "as a superuser", |f| peer(f).rights.extensions[0].creatable = false);
    error("extensions", "UPDATE TO '1.6'", |f| peer(f).rights.extensions[0].installed_version = Some("1.5".into()));
    nothing(|f| peer(f).rights.extensions[0].installed_version = Some("1.10".into()));
}

#[test]
fn policies_that_ask_who_wrote_a_row_need_commit_times() {
    const ITEM: &str = "track_commit_timestamp";
    let table = Some(crate::name::TableName::new("shop", "orders"));
    let latest = Override { table, kind: None, direction: None, policy: Policy::LatestWins };
    error(ITEM, "ALTER SYSTEM SET track_commit_timestamp = on", |f| f.rules.policy = Policy::LatestWins);
    error(ITEM, "restart", |f| f.rules.overrides = vec![latest.clone()]);
    one(ITEM, Severity::Warning, "ALTER SYSTEM SET track_commit_timestamp = on", |f| f.rules.strict = true);
    nothing(|f| {
        (f.rules.policy, f.rules.strict, f.rules.overrides) = (Policy::LatestWins, true, vec![latest]);
        peer(f).server.track_commit_timestamp = true;
    });
}

#[test]
fn the_plan_gives_kinds_and_names() {
    let item = |kind: &str, identity: &str, ddl: &str| Item {
        ordinal: 1,
        section: Section::PreData,
        kind: kind.into(),
        identity: identity.into(),
        object: crate::catalog::Address::new(0, 0),
        when: When::BeforeData,
        ddl: ddl.into(),
        then: None,
        of: None,
        depends_on: vec![],
        reason: String::new(),
    };
    let items = vec![item("table", "table shop.orders", "CREATE …"), item("rows", "rows shop.orders", "")];
    let plan = Plan { items, ..Plan::default() };
    assert_eq!(PlanFacts::from_plan(&plan).objects, [object("table", "shop.orders")]);
}

/// Facts of a two-way task.
fn two_way(change: impl FnOnce(&mut Facts)) -> impl FnOnce(&mut Facts) {
    move |facts| {
        facts.options.topology = crate::task::Topology::TwoWay;
        facts.rules.policy = Policy::SourcePriority;
        facts.interleaved = facts.source.sequences.iter().map(|s| (s.schema.clone(), s.name.clone())).collect();
        facts.source.server.track_commit_timestamp = true;
        let Ok(peer) = &mut facts.peer else { return };
        peer.server.track_commit_timestamp = true;
        let (replication, rights) = (facts.source.replication.clone(), peer.rights.clone());
        facts.reverse = Some(ReverseFacts { replication, tables: vec![], rights });
        change(facts);
    }
}

fn reverse(facts: &mut Facts) -> &mut ReverseFacts {
    facts.reverse.as_mut().expect("a reverse direction")
}

#[test]
fn the_reverse_direction_needs_of_each_side_what_the_other_gives() {
    nothing(two_way(|_| {}));
    warning("track_commit_timestamp", "track_commit_timestamp = on", two_way(|f| f.source.server.track_commit_timestamp = false));
    error("reverse_wal_level", "wal_level = 'logical'", two_way(|f| reverse(f).replication.wal_level = "replica".into()));
    error("reverse_slots", "max_replication_slots = 2", two_way(|f| reverse(f).replication.max_replication_slots = 1));
    error("reverse_slots", "max_wal_senders = 2", two_way(|f| reverse(f).replication.max_wal_senders = 1));
    error("reverse_rights", "REPLICATION", two_way(|f| peer(f).server.role.replication = false));
    error("reverse_rights", "session_replication_role", two_way(|f| reverse(f).rights.set_replication_role = false));
    error("reverse_rights", "GRANT EXECUTE ON FUNCTION f(text)", two_way(|f| reverse(f).rights.functions[0].execute = false));
}

#[test]
fn tables_of_the_forward_direction_are_no_conflict_for_the_reverse_one() {
    let keyless = |f: &mut Facts| reverse(f).tables = vec![TableFacts { primary_key: false, ..table("orders") }];
    nothing(two_way(|f| {
        reverse(f).tables = vec![table("orders")];
    }));
    nothing(two_way(|f| {
        keyless(f);
        peer(f).made.insert("table shop.orders".into());
    }));
    error("reverse_tables", "ADD PRIMARY KEY", two_way(keyless));
    error("reverse_tables", "GRANT", two_way(|f| reverse(f).tables = vec![TableFacts { owned: false, ..table("orders") }]));
    nothing(two_way(|f| reverse(f).tables = vec![TableFacts { owned: false, ..table("elsewhere") }]));
}

#[test]
fn only_what_the_reverse_direction_carries_is_looked_at_and_it_must_be_something() {
    let carries = |f: &mut Facts, json: &str| {
        let option = serde_json::from_str(json).expect("JSON");
        f.options.reverse = crate::task::Reverse::from_json(&option).expect("valid");
    };
    let foreign = |f: &mut Facts| {
        f.source.tables.push(table("lines"));
        reverse(f).tables = vec![table("orders"), TableFacts { owned: false, ..table("lines") }];
    };
    error("reverse_tables", "GRANT", two_way(foreign));
    nothing(two_way(|f| {
        foreign(f);
        carries(f, r#"{"exclude": ["shop.lines"]}"#);
    }));
    error("reverse_tables", "alter_task", two_way(|f| carries(f, r#"{"include": ["shop.nothing"]}"#)));
    for pattern in ["shop.liens", "elsewhere.*"] {
        warning("reverse_tables", "alter_task", two_way(|f| carries(f, &format!(r#"{{"exclude": ["{pattern}"]}}"#))));
    }
    let refers = |f: &mut Facts| {
        f.source.tables.push(TableFacts { references: vec![("shop".into(), "orders".into())], ..table("lines") });
    };
    for json in [r#"{"exclude": ["shop.lines"]}"#, r#"{"exclude": ["shop.orders"]}"#] {
        warning(
            "reverse_tables",
            "both or none",
            two_way(|f| {
                refers(f);
                carries(f, json);
            }),
        );
    }
    nothing(two_way(refers));
    nothing(two_way(|f| {
        f.source.tables[0].parents = vec![("shop".into(), "all".into())];
        carries(f, r#"{"include": ["shop.all"]}"#);
    }));
}

#[test]
fn a_two_way_task_says_where_both_sides_may_differ() {
    warning("two_way_policies", "latest_wins", two_way(|f| f.rules.policy = Policy::Overwrite));
    warning("two_way_policies", "latest_wins", two_way(|f| f.rules.policy = Policy::Fail));
    let own = |policy| Override { table: Some(crate::name::TableName::new("shop", "orders")), kind: None, direction: None, policy };
    warning("two_way_policies", "latest_wins", two_way(|f| f.rules.overrides = vec![own(Policy::Ignore)]));
    nothing(two_way(|f| f.rules.overrides = vec![own(Policy::SourcePriority)]));
    warning("two_way_tables", "pgrelay.conflict", two_way(|f| f.source.tables[0].risks = vec!["unique key \"u\"".into()]));
    let fires = || ReplicaTrigger { name: "t".into(), always: true };
    let found = bad(two_way(|f| f.source.tables[0].replica_triggers = vec![fires()]));
    assert!(found.iter().any(|f| f.item == "two_way_tables" && f.message.contains("trigger \"t\"")), "{found:#?}");
    warning("two_way_sequences", "interleave_sequences", two_way(|f| f.interleaved.clear()));
}
