//! A generator of random schemas: statements of every kind, each tried by itself, what PostgreSQL refuses left out.

mod attached;
mod expressions;
pub mod model;
mod names;
mod routines;
mod tables;
mod types;

use model::{Model, ROLES};
use pgrelay_tests::Seed;
use tokio_postgres::Client;

/// Makes the roles that generated schemas name.
pub async fn roles(client: &Client) {
    for role in ROLES {
        client.batch_execute(&format!("CREATE ROLE {role}")).await.expect("create a role");
    }
}

/// Makes a schema in the empty database of `client`; returns the statements that made it.
pub async fn generate(client: &Client, seed: u64) -> Vec<String> {
    let mut model = Model::new(client, Seed::new(seed));
    for _ in 0..3 {
        model.schema().await;
    }
    let steps = 40 + model.below(120);
    for step in 0..steps {
        // First what others use.
        let early = step < steps / 3;
        one(&mut model, early).await;
    }
    leave_out_what_cannot_be_refreshed(&mut model).await;
    println!("seed {seed}: {} statements, {} refused, {} relations", model.done.len(), model.refused, model.relations.len());
    model.done
}

async fn one(m: &mut Model<'_>, early: bool) {
    match m.below(if early { 24 } else { 62 }) {
        0 => m.enumeration().await,
        1 | 2 => m.domain().await,
        3 => m.composite().await,
        4 => m.range().await,
        5 => m.sequence().await,
        6..=8 => m.function().await,
        9..=12 => m.table().await,
        13 => m.collation().await,
        14 => m.trigger_function().await,
        15 | 16 => m.partitioned().await,
        17 => m.view().await,
        18 => m.child().await,
        19 => m.circle_of_functions().await,
        20 => m.default_privileges().await,
        21 => m.aggregate().await,
        22 => m.schema().await,
        23 => m.row_function().await,
        24..=27 => m.alter_table().await,
        28..=30 => m.view().await,
        31 | 32 => m.materialized_view().await,
        33..=35 => m.index().await,
        36 | 37 => m.trigger().await,
        38 | 39 => m.foreign_key().await,
        40 => m.rule().await,
        41 => m.policy().await,
        42 => m.statistics().await,
        43 => m.publication().await,
        44 | 45 => m.own().await,
        46 | 47 => m.comment().await,
        48..=50 => m.grant().await,
        51 => m.operator().await,
        52 => m.cast().await,
        53 => m.procedure().await,
        54 => m.text_search().await,
        55 => m.typed_table().await,
        56 => m.circle_of_views().await,
        57 => m.array_column().await,
        58 | 59 => m.alter_table().await,
        60 => m.child().await,
        _ => m.row_function().await,
    }
}

/// Drops indexes over functions that the table's owner may not run, as when he became the owner later: nobody could build them now.
/// Also CHECKs over functions whose body names what is gone, such as a column that got another name: the source refuses every row.
/// In a session of its own: where such a function has run before, its body is not looked up again.
pub const LEAVE_OUT_WHAT_CANNOT_BE_BUILT: &str = "DO $do$ DECLARE one record; BEGIN
    FOR one IN SELECT coalesce(pg_partition_root(c.oid), c.oid)::regclass::text AS name, replace(pg_get_indexdef(c.oid), format('INDEX %I ON', c.relname), 'INDEX ON') AS definition
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE c.oid >= 16384 AND c.relnamespace <> 'pg_toast'::regnamespace AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
            AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid)
    LOOP
        BEGIN
            DISCARD PLANS;
            EXECUTE one.definition;
            RAISE SQLSTATE 'UNDO0';
        EXCEPTION WHEN SQLSTATE 'UNDO0' THEN NULL;
            WHEN insufficient_privilege THEN EXECUTE format('DROP INDEX IF EXISTS %s CASCADE', one.name);
            WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    FOR one IN SELECT conrelid::regclass::text AS name, conname, pg_get_constraintdef(oid) AS definition
        FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0 AND coninhcount = 0
    LOOP
        BEGIN
            DISCARD PLANS;
            EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s', one.name, 'tried ' || clock_timestamp(), one.definition);
            RAISE SQLSTATE 'UNDO0';
        EXCEPTION WHEN SQLSTATE 'UNDO0' THEN NULL;
            WHEN undefined_column OR undefined_table OR undefined_function
                THEN EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE', one.name, one.conname);
            WHEN OTHERS THEN NULL;
        END;
    END LOOP;
END $do$";

/// Materialized views that were filled once and could not be now, as when the owner of what they read has changed.
async fn leave_out_what_cannot_be_refreshed(m: &mut Model<'_>) {
    let views: Vec<String> = m.relations.iter().filter(|r| r.word == "MATERIALIZED VIEW").map(|r| r.sql.clone()).collect();
    for view in views {
        let empty = format!("SELECT 1 / relispopulated::int FROM pg_class WHERE oid = '{}'::regclass", view.replace('\'', "''"));
        if m.try_sql(empty).await && !m.try_sql(format!("REFRESH MATERIALIZED VIEW {view}")).await {
            m.try_sql(format!("DROP MATERIALIZED VIEW {view} CASCADE")).await;
        }
    }
}
