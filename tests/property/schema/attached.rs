//! Views, and what hangs on relations: indexes, triggers, rules, policies, statistics, publications.

use super::{
    expressions::plain,
    model::{Column, Family, Model, ROLES, Relation, Type},
};

impl Model<'_> {
    /// The query of a view over one or two relations, with the columns it has.
    fn query(&mut self) -> Option<(String, Vec<Column>)> {
        let first = self.some_relation()?;
        let mut columns = Vec::new();
        let mut list = Vec::new();
        for family in [Family::Int, Family::Text] {
            let value = self.expression(family, Some(&first), "\"a a\".", false, 2);
            let (name, of) = (self.name(), if family == Family::Int { "bigint" } else { "text" });
            list.push(format!("({value})::{of} AS {name}"));
            columns.push(Column { name, of: Type { sql: of.to_string(), family } });
        }
        if self.one_in(2) && !first.columns.is_empty() {
            let column = self.pick(&first.columns)?;
            list.push(format!("\"a a\".{} AS c3", column.name));
            columns.push(Column { name: "c3".to_string(), of: column.of });
        }
        let condition = self.condition(Some(&first), "\"a a\".", false, 2);
        let from = format!("{} \"a a\"", first.sql);
        let text = match self.below(7) {
            0 => {
                let second = self.some_relation()?;
                let on = self.condition(Some(&second), "b.", false, 1);
                format!("SELECT {} FROM {from} LEFT JOIN {} b ON {on} WHERE {condition}", list.join(", "), second.sql)
            }
            1 => format!("WITH w AS (SELECT * FROM {from}) SELECT {} FROM w \"a a\" WHERE {condition} ORDER BY 1 LIMIT 9", list.join(", ")),
            2 => format!("SELECT {} FROM {from} UNION ALL SELECT {} FROM {from} WHERE {condition}", list.join(", "), list.join(", ")),
            3 => {
                // A view that groups by a primary key needs that key.
                columns.truncate(1);
                match (first.key.first(), first.columns.first()) {
                    (Some(key), Some(other)) => {
                        columns[0] = other.clone();
                        format!("SELECT \"a a\".{} , count(*) AS n FROM {from} GROUP BY \"a a\".{key}", other.name)
                    }
                    _ => format!("SELECT {} FROM {from}", list[0]),
                }
            }
            4 => {
                columns.truncate(2);
                format!(
                    "SELECT {}, \"a a\" AS whole FROM {from} WHERE EXISTS (SELECT 1 FROM {} z WHERE {condition})",
                    list[..2].join(", "),
                    self.some_relation()?.sql
                )
            }
            _ => format!("SELECT {} FROM {from} WHERE {condition}", list.join(", ")),
        };
        Some((text, columns))
    }

    pub async fn view(&mut self) {
        let Some((query, columns)) = self.query() else { return };
        let sql = self.qualified();
        let options = self.word(&["", "", " WITH (security_barrier)", " WITH (security_invoker = true)", " WITH (check_option = local)"]);
        if self.try_sql(format!("CREATE VIEW {sql}{options} AS {query}")).await {
            self.add_relation(Relation { sql, columns, word: "VIEW", partitioned: false, key: vec![] });
        }
    }

    /// Two views of which each reads the other's row type.
    pub async fn circle_of_views(&mut self) {
        let (one, two) = (self.qualified(), self.qualified());
        self.try_sql(format!("CREATE VIEW {one} AS SELECT 1 AS x, 'y'::text AS y")).await;
        self.try_sql(format!("CREATE VIEW {two} AS SELECT x, y FROM {one}")).await;
        let reads = if self.one_in(3) { &one } else { &two };
        if self
            .try_sql(format!("CREATE OR REPLACE VIEW {one} AS SELECT 1 AS x, s.y FROM (SELECT NULL::{reads} AS r, 'z'::text AS y) s"))
            .await
        {
            let columns = vec![
                Column { name: "x".to_string(), of: Type { sql: "integer".to_string(), family: Family::Int } },
                Column { name: "y".to_string(), of: Type { sql: "text".to_string(), family: Family::Text } },
            ];
            self.add_relation(Relation { sql: two, columns, word: "VIEW", partitioned: false, key: vec![] });
        }
    }

    pub async fn materialized_view(&mut self) {
        let Some((query, columns)) = self.query() else { return };
        let sql = self.qualified();
        let options = self.word(&["", " WITH (fillfactor = 80)"]);
        let data = self.word(&["", "", " WITH NO DATA"]);
        if self.try_sql(format!("CREATE MATERIALIZED VIEW {sql}{options} AS {query}{data}")).await {
            self.add_relation(Relation { sql, columns, word: "MATERIALIZED VIEW", partitioned: false, key: vec![] });
            if self.one_in(2) {
                self.index_on(self.relations.len() - 1).await;
            }
        }
    }

    pub async fn index(&mut self) {
        let indexed: Vec<usize> = (0..self.relations.len()).filter(|&i| self.relations[i].word != "VIEW").collect();
        if let Some(at) = self.pick(&indexed) {
            self.index_on(at).await;
        }
    }

    pub async fn index_on(&mut self, at: usize) {
        let relation = self.relations[at].clone();
        let Some(column) = self.pick(&relation.columns) else { return };
        let name = self.name();
        let unique = if self.one_in(5) { "UNIQUE " } else { "" };
        let text = self.expression(Family::Text, Some(&relation), "", true, 2);
        let number = self.expression(Family::Int, Some(&relation), "", true, 2);
        let keys = match self.below(6) {
            0 => format!("USING btree ((({text})::text) text_pattern_ops DESC)"),
            1 => format!("(({number}) NULLS FIRST, {})", column.name),
            2 => format!("USING hash ({})", column.name),
            3 => format!("USING gin (to_tsvector('pg_catalog.simple'::regconfig, ({text})::text))"),
            4 => format!("USING brin ({}) WITH (pages_per_range = 9)", column.name),
            _ => format!("({})", column.name),
        };
        let more = match self.below(5) {
            0 => format!(" INCLUDE ({})", relation.columns[0].name),
            1 => format!(" WHERE {}", self.condition(Some(&relation), "", true, 2)),
            2 if !unique.is_empty() => " NULLS NOT DISTINCT".to_string(),
            _ => String::new(),
        };
        let only = if relation.partitioned && self.one_in(4) { "ONLY " } else { "" };
        if !self.try_sql(format!("CREATE {unique}INDEX {name} ON {only}{} {keys}{more}", relation.sql)).await {
            return;
        }
        // An index stands in its table's schema; where that name's end is, a dot in it does not say.
        let schema =
            self.schemas.iter().filter(|s| relation.sql.starts_with(&format!("{s}."))).max_by_key(|s| s.len()).cloned().unwrap_or_default();
        let index = format!("{schema}.{name}");
        self.objects.push(format!("INDEX {index}"));
        match self.below(5) {
            0 => drop(self.try_sql(format!("ALTER {} {} CLUSTER ON {name}", relation.word, relation.sql)).await),
            1 => drop(self.try_sql(format!("ALTER INDEX {index} ALTER COLUMN 1 SET STATISTICS 55")).await),
            2 => drop(self.try_sql(format!("ALTER TABLE {} REPLICA IDENTITY USING INDEX {name}", relation.sql)).await),
            3 if !unique.is_empty() => {
                let constraint = self.name();
                self.try_sql(format!("ALTER TABLE {} ADD CONSTRAINT {constraint} UNIQUE USING INDEX {name}", relation.sql)).await;
            }
            _ => {}
        }
    }

    pub async fn trigger(&mut self) {
        let functions = self.trigger_functions.clone();
        let (Some(function), Some(relation)) = (self.pick(&functions), self.some_relation()) else { return };
        let (name, sql) = (self.name(), &relation.sql);
        let Some(column) = self.pick(&relation.columns) else { return };
        let condition = self.condition(Some(&relation), "NEW.", false, 1);
        let made = match self.below(6) {
            0 => format!(
                "CREATE TRIGGER {name} BEFORE INSERT OR UPDATE OF {} ON {sql} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION {function}('a''b', '\\x')",
                column.name
            ),
            1 => format!(
                "CREATE CONSTRAINT TRIGGER {name} AFTER UPDATE ON {sql} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {function}()"
            ),
            2 => format!(
                "CREATE TRIGGER {name} AFTER DELETE ON {sql} REFERENCING OLD TABLE AS {} FOR EACH STATEMENT EXECUTE FUNCTION {function}()",
                self.name()
            ),
            3 => format!("CREATE TRIGGER {name} BEFORE TRUNCATE ON {sql} EXECUTE FUNCTION {function}()"),
            4 => format!("CREATE TRIGGER {name} INSTEAD OF INSERT ON {sql} FOR EACH ROW EXECUTE FUNCTION {function}()"),
            _ => format!("CREATE TRIGGER {name} AFTER INSERT ON {sql} FOR EACH ROW EXECUTE FUNCTION {function}()"),
        };
        if self.try_sql(made).await {
            self.objects.push(format!("TRIGGER {name} ON {sql}"));
            let how = self.word(&["DISABLE", "ENABLE REPLICA", "ENABLE ALWAYS", "ENABLE"]);
            let only = self.word(&["", "ONLY "]);
            self.try_sql(format!("ALTER TABLE {only}{sql} {how} TRIGGER {name}")).await;
        }
    }

    pub async fn rule(&mut self) {
        let Some(relation) = self.some_relation() else { return };
        let (name, sql) = (self.name(), &relation.sql);
        let condition = self.condition(Some(&relation), "NEW.", false, 1);
        let made = match self.below(3) {
            0 => format!("CREATE RULE {name} AS ON DELETE TO {sql} DO INSTEAD NOTHING"),
            1 => format!("CREATE RULE {name} AS ON INSERT TO {sql} DO ALSO NOTIFY {}", self.name()),
            _ => {
                let Some(other) = self.some_relation() else { return };
                format!("CREATE RULE {name} AS ON UPDATE TO {sql} WHERE {condition} DO ALSO (DELETE FROM {}; SELECT 1)", other.sql)
            }
        };
        if self.try_sql(made).await {
            self.objects.push(format!("RULE {name} ON {sql}"));
            if self.one_in(3) {
                self.try_sql(format!("ALTER TABLE {sql} DISABLE RULE {name}")).await;
            }
        }
    }

    pub async fn policy(&mut self) {
        let Some((_, table)) = self.some_table() else { return };
        let (name, role) = (self.name(), self.word(ROLES));
        let kind = self.word(&["", " AS RESTRICTIVE"]);
        let condition = self.condition(Some(&table), "", false, 2);
        let command = match self.below(4) {
            0 => format!("FOR SELECT TO {role} USING ({condition})"),
            1 => format!("FOR INSERT WITH CHECK ({condition})"),
            2 => format!("FOR UPDATE TO {role}, {} USING ({condition}) WITH CHECK (true)", ROLES[0]),
            _ => format!("TO {role} USING (EXISTS (SELECT 1 FROM {} z WHERE {condition}))", table.sql),
        };
        if self.try_sql(format!("CREATE POLICY {name} ON {}{kind} {command}", table.sql)).await {
            self.objects.push(format!("POLICY {name} ON {}", table.sql));
        }
    }

    pub async fn statistics(&mut self) {
        let (name, Some((_, table))) = (self.qualified(), self.some_table()) else { return };
        let expression = self.expression(Family::Text, Some(&table), "", true, 2);
        let Some(column) = self.pick(&table.columns) else { return };
        let kinds = self.word(&["", " (ndistinct)", " (dependencies, mcv)"]);
        if self.try_sql(format!("CREATE STATISTICS {name}{kinds} ON {}, ({expression}) FROM {}", column.name, table.sql)).await {
            self.objects.push(format!("STATISTICS {name}"));
            if self.one_in(2) {
                self.try_sql(format!("ALTER STATISTICS {name} SET STATISTICS 33")).await;
            }
        }
    }

    pub async fn publication(&mut self) {
        let (name, Some((_, table))) = (self.name(), self.some_table()) else { return };
        let schemas = self.schemas.clone();
        let Some(schema) = self.pick(&schemas) else { return };
        let what = match self.below(3) {
            0 => format!("FOR TABLE ONLY {}", table.sql),
            1 => format!("FOR TABLES IN SCHEMA {schema}"),
            _ => format!("FOR TABLE {} WHERE (true)", table.sql),
        };
        if self.try_sql(format!("CREATE PUBLICATION {name} {what} WITH (publish = 'insert')")).await {
            self.objects.push(format!("PUBLICATION {name}"));
        }
    }

    /// A type made a second time over: a column of a type that comes from what was made last.
    pub async fn array_column(&mut self) {
        let (Some((_, table)), of, name) = (self.some_table(), self.some_type(), self.name()) else { return };
        self.try_sql(format!("ALTER TABLE {} ADD COLUMN {name} {}[]", table.sql, plain(&of))).await;
    }
}
