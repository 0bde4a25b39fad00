//! The scenarios: which rows are where, what the source does, and what each policy makes of it.

use crate::case::{
    Case,
    End::{self, Failed, Running},
    PLAIN,
};

/// A row with a long value, as it is shown.
const LONG: &str = "(1,2,xxx…5006";

fn all(rows: &'static str) -> [End; 3] {
    [Running(rows); 3]
}

/// What counts whatever the options are.
pub fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "an insert meets a row with its key",
            peer: "INSERT INTO {t} VALUES (1, 10, 'd')",
            source: "INSERT INTO {t} VALUES (1, 11, 's')",
            ends: [Failed("(1,10,d)"), Running("(1,10,d)"), Running("(1,11,s)")],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "an insert meets a row with its second unique value",
            peer: "INSERT INTO {t} VALUES (2, 5, 'd')",
            source: "INSERT INTO {t} VALUES (1, 5, 's')",
            ends: [Failed("(2,5,d)"), Running("(2,5,d)"), Running("(1,5,s)")],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "an insert meets two rows by two keys",
            peer: "INSERT INTO {t} VALUES (1, 10, 'd'), (2, 5, 'd')",
            source: "INSERT INTO {t} VALUES (1, 5, 's')",
            ends: [Failed("(1,10,d) (2,5,d)"), Running("(1,10,d) (2,5,d)"), Running("(1,5,s)")],
            recorded: "multiple_unique_conflicts",
            ..PLAIN
        },
        Case {
            name: "a partial index does not hold the row",
            table: "(a int PRIMARY KEY, b int, chk boolean)",
            both: "CREATE UNIQUE INDEX ON {t} (b) WHERE chk",
            peer: "INSERT INTO {t} VALUES (3, 2, true)",
            source: "INSERT INTO {t} VALUES (4, 2, false)",
            ends: all("(3,2,t) (4,2,f)"),
            ..PLAIN
        },
        Case {
            name: "a partial index holds both rows",
            table: "(a int PRIMARY KEY, b int, chk boolean)",
            both: "CREATE UNIQUE INDEX ON {t} (b) WHERE chk",
            peer: "INSERT INTO {t} VALUES (3, 2, true)",
            source: "INSERT INTO {t} VALUES (5, 2, true)",
            ends: [Failed("(3,2,t)"), Running("(3,2,t)"), Running("(5,2,t)")],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "nulls are distinct",
            peer: "INSERT INTO {t} VALUES (1, NULL, 'd')",
            source: "INSERT INTO {t} VALUES (2, NULL, 's')",
            ends: all("(1,,d) (2,,s)"),
            ..PLAIN
        },
        Case {
            name: "nulls are not distinct",
            table: "(id int PRIMARY KEY, u int UNIQUE NULLS NOT DISTINCT)",
            peer: "INSERT INTO {t} VALUES (1, NULL)",
            source: "INSERT INTO {t} VALUES (2, NULL)",
            ends: [Failed("(1,)"), Running("(1,)"), Running("(2,)")],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "an index over an expression",
            table: "(id int PRIMARY KEY, e text)",
            both: "CREATE UNIQUE INDEX ON {t} (lower(e))",
            peer: "INSERT INTO {t} VALUES (1, 'ABC')",
            source: "INSERT INTO {t} VALUES (2, 'abc')",
            ends: [Failed("(1,ABC)"), Running("(1,ABC)"), Running("(2,abc)")],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "an exclusion constraint",
            table: "(id int PRIMARY KEY, r int4range, EXCLUDE USING gist (r WITH &&))",
            peer: "INSERT INTO {t} VALUES (1, '[1,5)')",
            source: "INSERT INTO {t} VALUES (2, '[4,9)')",
            ends: [Failed(r#"(1,"[1,5)")"#), Running(r#"(1,"[1,5)")"#), Running(r#"(2,"[4,9)")"#)],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "a unique generated column",
            table: "(id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a / 10) STORED UNIQUE)",
            peer: "INSERT INTO {t} VALUES (1, 51)",
            source: "INSERT INTO {t} VALUES (2, 52)",
            ends: [Failed("(1,51,5)"), Running("(1,51,5)"), Running("(2,52,5)")],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "an update of a row that is missing inserts it",
            rows: "INSERT INTO {t} VALUES (1, 1, 'old')",
            peer: "DELETE FROM {t}",
            source: "UPDATE {t} SET v = 'new'",
            ends: all("(1,1,new)"),
            recorded: "update_missing",
            ..PLAIN
        },
        Case {
            name: "an update of a missing row, and another row has its unique value",
            rows: "INSERT INTO {t} VALUES (1, 5, 'old')",
            peer: "DELETE FROM {t}; INSERT INTO {t} VALUES (9, 5, 'd')",
            source: "UPDATE {t} SET v = 'new'",
            ends: [Failed("(9,5,d)"), Running("(9,5,d)"), Running("(1,5,new)")],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "an update of a missing row with an unchanged long value, whole old rows",
            table: "(id int PRIMARY KEY, n int, v text)",
            both: "ALTER TABLE {t} ALTER v SET STORAGE EXTERNAL; ALTER TABLE {t} REPLICA IDENTITY FULL",
            rows: "INSERT INTO {t} VALUES (1, 1, repeat('x', 5000))",
            peer: "DELETE FROM {t}",
            source: "UPDATE {t} SET n = 2",
            ends: all(LONG),
            recorded: "update_missing",
        },
        Case {
            name: "an update of a missing row with an unchanged long value, keys only",
            table: "(id int PRIMARY KEY, n int, v text)",
            both: "ALTER TABLE {t} ALTER v SET STORAGE EXTERNAL",
            rows: "INSERT INTO {t} VALUES (1, 1, repeat('x', 5000))",
            peer: "DELETE FROM {t}",
            source: "UPDATE {t} SET n = 2",
            ends: all(LONG),
            recorded: "update_missing",
        },
        Case {
            name: "an update gives a row the unique value of another",
            rows: "INSERT INTO {t} VALUES (1, 1, 'old')",
            peer: "INSERT INTO {t} VALUES (7, 99, 'd')",
            source: "UPDATE {t} SET u = 99, v = 'new'",
            ends: [Failed("(1,1,old) (7,99,d)"), Running("(1,1,old) (7,99,d)"), Running("(1,99,new)")],
            recorded: "update_exists",
            ..PLAIN
        },
        Case {
            name: "a key changes",
            rows: "INSERT INTO {t} VALUES (1, 1, 's')",
            source: "UPDATE {t} SET id = 2",
            ends: all("(2,1,s)"),
            ..PLAIN
        },
        Case {
            name: "a key changes to that of another row",
            rows: "INSERT INTO {t} VALUES (1, 1, 's')",
            peer: "INSERT INTO {t} VALUES (2, 22, 'd')",
            source: "UPDATE {t} SET id = 2",
            ends: [Failed("(1,1,s) (2,22,d)"), Running("(1,1,s) (2,22,d)"), Running("(2,1,s)")],
            recorded: "update_exists",
            ..PLAIN
        },
        Case {
            name: "a key changes of a row that is missing",
            rows: "INSERT INTO {t} VALUES (1, 1, 's')",
            peer: "DELETE FROM {t}",
            source: "UPDATE {t} SET id = 2",
            ends: all("(2,1,s)"),
            recorded: "update_missing",
            ..PLAIN
        },
        Case {
            name: "a row is updated three times",
            rows: "INSERT INTO {t} VALUES (1, 1, 's')",
            source: "BEGIN; UPDATE {t} SET v = 'a'; UPDATE {t} SET v = 'b'; UPDATE {t} SET v = 'c'; COMMIT",
            ends: all("(1,1,c)"),
            ..PLAIN
        },
        Case {
            name: "two rows swap a unique value",
            rows: "INSERT INTO {t} VALUES (1, 1, 'a'), (2, 2, 'b')",
            source: "BEGIN; UPDATE {t} SET u = -1 WHERE id = 1; UPDATE {t} SET u = 1 WHERE id = 2; UPDATE {t} SET u = 2 WHERE id = 1; COMMIT",
            ends: all("(1,2,a) (2,1,b)"),
            ..PLAIN
        },
        Case {
            name: "a row that the peer has changed is updated",
            rows: "INSERT INTO {t} VALUES (1, 1, 's')",
            peer: "UPDATE {t} SET v = 'd'",
            source: "UPDATE {t} SET v = 'new'",
            ends: all("(1,1,new)"),
            recorded: "update_origin_differs",
            ..PLAIN
        },
        Case {
            name: "the identity is an index",
            table: "(id int NOT NULL UNIQUE, u int UNIQUE, v text)",
            both: "ALTER TABLE {t} REPLICA IDENTITY USING INDEX {t}_id_key",
            rows: "INSERT INTO {t} VALUES (1, 1, 's')",
            peer: "INSERT INTO {t} VALUES (2, 5, 'd')",
            source: "UPDATE {t} SET u = 5",
            ends: [Failed("(1,1,s) (2,5,d)"), Running("(1,1,s) (2,5,d)"), Running("(1,5,s)")],
            recorded: "update_exists",
        },
        Case {
            name: "a row that is missing is deleted",
            rows: "INSERT INTO {t} VALUES (1, 1, 's'), (2, 2, 's')",
            peer: "DELETE FROM {t} WHERE id = 1",
            source: "BEGIN; DELETE FROM {t} WHERE id = 1; UPDATE {t} SET v = 'new' WHERE id = 2; COMMIT",
            ends: all("(2,2,new)"),
            recorded: "delete_missing",
            ..PLAIN
        },
        Case {
            name: "a row that the peer has changed is deleted",
            rows: "INSERT INTO {t} VALUES (1, 1, 's')",
            peer: "UPDATE {t} SET v = 'd'",
            source: "DELETE FROM {t}",
            ends: all(""),
            recorded: "delete_origin_differs",
            ..PLAIN
        },
        Case {
            name: "a row is deleted that the peer has replaced by one with the same unique value",
            rows: "INSERT INTO {t} VALUES (1, 5, 's')",
            peer: "DELETE FROM {t}; INSERT INTO {t} VALUES (2, 5, 'd')",
            source: "DELETE FROM {t}",
            ends: all("(2,5,d)"),
            recorded: "delete_missing",
            ..PLAIN
        },
        Case {
            name: "one of three equal rows is deleted",
            table: "(n int, j json)",
            both: "ALTER TABLE {t} REPLICA IDENTITY FULL",
            rows: "INSERT INTO {t} SELECT 1, '{}' FROM generate_series(1, 3)",
            source: "DELETE FROM {t} WHERE ctid = (SELECT min(ctid) FROM {t})",
            ends: all("(1,{}) (1,{})"),
            ..PLAIN
        },
        Case {
            name: "a deferrable key",
            table: "(id int PRIMARY KEY, u int UNIQUE DEFERRABLE INITIALLY DEFERRED, v text)",
            peer: "INSERT INTO {t} VALUES (2, 5, 'd')",
            source: "INSERT INTO {t} VALUES (1, 5, 's')",
            ends: [Failed("(2,5,d)"), Running("(2,5,d)"), Running("(1,5,s)")],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "a deferrable key that an update violates",
            table: "(id int PRIMARY KEY, u int UNIQUE DEFERRABLE, v text)",
            rows: "INSERT INTO {t} VALUES (1, 1, 's'), (3, 3, 's')",
            peer: "INSERT INTO {t} VALUES (2, 5, 'd')",
            source: "BEGIN; UPDATE {t} SET u = 4 WHERE id = 3; UPDATE {t} SET u = 5 WHERE id = 1; COMMIT",
            ends: [Failed("(1,1,s) (2,5,d) (3,3,s)"), Running("(1,1,s) (2,5,d) (3,4,s)"), Running("(1,5,s) (3,4,s)")],
            recorded: "update_exists",
            ..PLAIN
        },
        Case {
            name: "a deferrable key that is violated only within the transaction",
            table: "(id int PRIMARY KEY, u int UNIQUE DEFERRABLE INITIALLY DEFERRED, v text)",
            rows: "INSERT INTO {t} VALUES (1, 1, 'a'), (2, 2, 'b')",
            source: "BEGIN; UPDATE {t} SET u = 2 WHERE id = 1; UPDATE {t} SET u = 1 WHERE id = 2; COMMIT",
            ends: all("(1,2,a) (2,1,b)"),
            ..PLAIN
        },
        Case {
            name: "a deferrable primary key is shifted onto a row of the peer",
            table: "(id int PRIMARY KEY DEFERRABLE, v text)",
            both: "ALTER TABLE {t} REPLICA IDENTITY FULL",
            rows: "INSERT INTO {t} VALUES (2, 'b'), (10, 'j'), (11, 'k')",
            peer: "INSERT INTO {t} VALUES (3, 'd')",
            source: "UPDATE {t} SET id = id + 1",
            ends: [Failed("(10,j) (11,k) (2,b) (3,d)"), Running("(11,j) (12,k) (2,b) (3,d)"), Running("(11,j) (12,k) (3,b)")],
            recorded: "update_exists",
        },
        Case {
            name: "a deferrable exclusion constraint",
            table: "(id int PRIMARY KEY, r int4range, EXCLUDE USING gist (r WITH &&) DEFERRABLE INITIALLY DEFERRED)",
            peer: "INSERT INTO {t} VALUES (1, '[1,5)')",
            source: "INSERT INTO {t} VALUES (2, '[4,9)')",
            ends: [Failed(r#"(1,"[1,5)")"#), Running(r#"(1,"[1,5)")"#), Running(r#"(2,"[4,9)")"#)],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "a TRUNCATE after an insert that collides",
            rows: "INSERT INTO {t} VALUES (1, 1, 's')",
            peer: "INSERT INTO {t} VALUES (2, 2, 'd')",
            source: "BEGIN; INSERT INTO {t} VALUES (2, 2, 's'); TRUNCATE {t}; COMMIT",
            ends: [Failed("(1,1,s) (2,2,d)"), Running(""), Running("")],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "an identity column GENERATED ALWAYS",
            table: "(id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, u int UNIQUE, v text)",
            peer: "INSERT INTO {t} OVERRIDING SYSTEM VALUE VALUES (1, 10, 'd')",
            source: "INSERT INTO {t} (u, v) VALUES (11, 's')",
            ends: [Failed("(1,10,d)"), Running("(1,10,d)"), Running("(1,11,s)")],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "two of the rows that a COPY brings collide",
            peer: "INSERT INTO {t} VALUES (2, 20, 'd'), (9, 4, 'd')",
            source: "COPY {t} FROM STDIN (FORMAT csv);\n1,1,s\n2,2,s\n3,3,s\n4,4,s\n5,5,s\n\\.\n",
            ends: [
                Failed("(2,20,d) (9,4,d)"),
                Running("(1,1,s) (2,20,d) (3,3,s) (5,5,s) (9,4,d)"),
                Running("(1,1,s) (2,2,s) (3,3,s) (4,4,s) (5,5,s)"),
            ],
            recorded: "insert_exists insert_exists",
            ..PLAIN
        },
        Case {
            name: "a long value that is nowhere any more",
            table: "(id int PRIMARY KEY, n int, v text)",
            both: "ALTER TABLE {t} ALTER v SET STORAGE EXTERNAL",
            rows: "INSERT INTO {t} VALUES (1, 1, repeat('x', 5000)), (2, 2, 's')",
            peer: "DELETE FROM {t} WHERE id = 1",
            source: "BEGIN; UPDATE {t} SET n = 5; DELETE FROM {t} WHERE id = 1; COMMIT",
            ends: all("(2,5,s)"),
            recorded: "update_missing delete_missing",
        },
        Case {
            name: "an insert without a key where an equal row is",
            table: "(n int, j json)",
            both: "ALTER TABLE {t} REPLICA IDENTITY FULL",
            peer: "INSERT INTO {t} VALUES (1, '{}')",
            source: "INSERT INTO {t} VALUES (1, '{}')",
            ends: all("(1,{}) (1,{})"),
            ..PLAIN
        },
        Case {
            name: "without a key one of two equal rows is updated",
            table: "(n int, j json)",
            both: "ALTER TABLE {t} REPLICA IDENTITY FULL",
            rows: "INSERT INTO {t} VALUES (1, '{}')",
            peer: "INSERT INTO {t} VALUES (1, '{}')",
            source: "UPDATE {t} SET n = 2",
            ends: all("(1,{}) (2,{})"),
            recorded: "",
        },
        Case {
            name: "without a key a row that the peer has changed is missing",
            table: "(n int, j json)",
            both: "ALTER TABLE {t} REPLICA IDENTITY FULL",
            rows: "INSERT INTO {t} VALUES (1, '{}'), (2, '{}')",
            peer: "UPDATE {t} SET j = '[]'",
            source: "BEGIN; UPDATE {t} SET n = 3 WHERE n = 1; DELETE FROM {t} WHERE n = 2; COMMIT",
            ends: all("(1,[]) (2,[]) (3,{})"),
            recorded: "update_missing delete_missing",
        },
    ]
}

/// What counts with `strict`: each change meets a row that the peer has written last.
pub fn with_strict() -> Vec<Case> {
    vec![
        Case {
            name: "a row that the peer has changed is updated",
            rows: "INSERT INTO {t} VALUES (1, 1, 'old'), (2, 2, 'old')",
            peer: "UPDATE {t} SET v = 'd' WHERE id = 1",
            source: "UPDATE {t} SET v = 's'",
            ends: [Failed("(1,1,d) (2,2,old)"), Running("(1,1,d) (2,2,s)"), Running("(1,1,s) (2,2,s)")],
            recorded: "update_origin_differs",
            ..PLAIN
        },
        Case {
            name: "a row that the peer has inserted anew is updated",
            rows: "INSERT INTO {t} VALUES (1, 1, 'old')",
            peer: "DELETE FROM {t}; INSERT INTO {t} VALUES (1, 9, 'd')",
            source: "UPDATE {t} SET v = 's'",
            ends: [Failed("(1,9,d)"), Running("(1,9,d)"), Running("(1,1,s)")],
            recorded: "update_origin_differs",
            ..PLAIN
        },
        Case {
            name: "a row that nobody else has changed is updated",
            rows: "INSERT INTO {t} VALUES (1, 1, 'old')",
            source: "UPDATE {t} SET v = 's'",
            ends: all("(1,1,s)"),
            ..PLAIN
        },
    ]
}
