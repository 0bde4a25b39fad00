//! Both sides write the same row, or rows that exclude each other, before either hears of the other: as the two policies say.

use crate::sides::Sides;

/// What both sides write meanwhile.
struct Race {
    name: &'static str,
    table: &'static str,
    source: &'static str,
    peer: &'static str,
    /// What is on both sides afterwards.
    rows: &'static str,
    recorded: &'static str,
}

/// Forward `overwrite`, reverse `ignore`.
const RACES: [Race; 4] = [
    Race {
        name: "two rows with one unique value",
        table: "(id int PRIMARY KEY, u int UNIQUE, v text)",
        source: "INSERT INTO {t} VALUES (1, 5, 's')",
        peer: "INSERT INTO {t} VALUES (2, 5, 'd')",
        rows: "(1,5,s)",
        recorded: "forward insert_exists overwritten, reverse insert_exists ignored",
    },
    Race {
        name: "one row updated on both sides",
        table: "(id int PRIMARY KEY, v text); INSERT INTO {t} VALUES (1, 'old')",
        source: "UPDATE {t} SET v = 's'",
        peer: "UPDATE {t} SET v = 'd'",
        rows: "(1,s)",
        recorded: "forward update_origin_differs applied, reverse update_origin_differs ignored",
    },
    Race {
        name: "a row deleted on the source and updated on the peer",
        table: "(id int PRIMARY KEY, v text); INSERT INTO {t} VALUES (1, 'old'), (2, 'old')",
        source: "DELETE FROM {t} WHERE id = 1",
        peer: "UPDATE {t} SET v = 'd' WHERE id = 1",
        rows: "(2,old)",
        recorded: "forward delete_origin_differs applied, reverse update_missing ignored",
    },
    Race {
        name: "a row updated on the source and deleted on the peer",
        table: "(id int PRIMARY KEY, v text); INSERT INTO {t} VALUES (1, 'old'), (2, 'old')",
        source: "UPDATE {t} SET v = 's' WHERE id = 1",
        peer: "DELETE FROM {t} WHERE id = 1",
        rows: "(2,old)",
        recorded: "forward update_missing ignored, reverse delete_origin_differs applied",
    },
];

#[tokio::test]
async fn under_strict_and_skip_overwrite_against_ignore_ends_with_what_the_source_wrote() {
    let of = |n: usize, sql: &str| sql.replace("{t}", &format!("r{n}"));
    let objects: String = RACES.iter().enumerate().map(|(n, race)| of(n, &format!("CREATE TABLE {{t}} {};", race.table))).collect();
    let options = r#""conflict_policy": "overwrite", "strict": true, "update_missing": "skip""#;
    let sides = Sides::start(&objects, options).await;
    sides.source("SELECT pgrelay.set_conflict_policy('move', 'ignore', direction => 'reverse')").await;
    sides.pause().await;
    for (n, race) in RACES.iter().enumerate() {
        sides.source(&of(n, race.source)).await;
        sides.peer(&of(n, race.peer)).await;
    }
    sides.resume().await;
    sides.run().await;
    for _ in 0..2 {
        sides.wait().await;
    }
    for (n, race) in RACES.iter().enumerate() {
        println!("r{n}: {}", race.name);
        sides.both(&of(n, "SELECT coalesce(string_agg(t::text, ' ' ORDER BY id), '') FROM {t} t"), race.rows).await;
        sides.recorded(&format!("r{n}"), race.recorded).await;
    }
}
