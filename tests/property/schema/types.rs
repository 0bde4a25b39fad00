//! Schemas, types, sequences, collations, text search.

use super::{
    expressions::plain,
    model::{Family, Model, ROLES, Type},
};

impl Model<'_> {
    pub async fn schema(&mut self) {
        let name = self.name();
        if self.try_sql(format!("CREATE SCHEMA {name}")).await {
            self.objects.push(format!("SCHEMA {name}"));
            self.schemas.push(name);
        }
    }

    pub async fn enumeration(&mut self) {
        let name = self.qualified();
        let labels: Vec<String> = (0..self.below(4)).map(|i| format!("'l''{i} \\'")).collect();
        if self.try_sql(format!("CREATE TYPE {name} AS ENUM ({})", labels.join(", "))).await {
            if !labels.is_empty() && self.one_in(2) {
                self.try_sql(format!("ALTER TYPE {name} ADD VALUE 'in between' BEFORE {}", labels[labels.len() / 2])).await;
            }
            self.add_type(name, Family::Other);
        }
    }

    fn add_type(&mut self, name: String, family: Family) {
        self.objects.push(format!("TYPE {name}"));
        let array = Type { sql: format!("{name}[]"), family: Family::Other };
        self.types.push(Type { sql: name, family });
        if self.one_in(3) {
            self.types.push(array);
        }
    }

    pub async fn domain(&mut self) {
        let (name, base) = (self.qualified(), self.some_type());
        let mut sql = format!("CREATE DOMAIN {name} AS {}", base.sql);
        if self.one_in(3) {
            sql += &format!(" DEFAULT {}", self.default(&base).await);
        }
        if self.one_in(8) {
            sql += " NOT NULL";
        }
        for _ in 0..self.below(3) {
            let constraint = self.name();
            let check = match self.routine(base.family, Family::Int, false) {
                Some(f) if base.family != Family::Other => format!("{}(VALUE::{}) >= 0", f.sql, plain(&f.argument)),
                _ => "VALUE IS NOT NULL OR true".to_string(),
            };
            sql += &format!(" CONSTRAINT {constraint} CHECK ({check})");
        }
        if self.try_sql(sql).await {
            if self.one_in(4) {
                let constraint = self.name();
                self.try_sql(format!("ALTER DOMAIN {name} ADD CONSTRAINT {constraint} CHECK (VALUE IS NOT NULL) NOT VALID")).await;
            }
            self.add_type(name, base.family);
        }
    }

    pub async fn composite(&mut self) {
        let name = self.qualified();
        let mut attributes = Vec::new();
        for _ in 0..self.below(4) {
            attributes.push(format!("{} {}", self.name(), self.some_type().sql));
        }
        if self.try_sql(format!("CREATE TYPE {name} AS ({})", attributes.join(", "))).await {
            if self.one_in(3) {
                let (one, two, of) = (self.name(), self.name(), self.some_type().sql);
                self.try_sql(format!("ALTER TYPE {name} ADD ATTRIBUTE {one} int, ADD ATTRIBUTE {two} {of}")).await;
                self.try_sql(format!("ALTER TYPE {name} DROP ATTRIBUTE {one}")).await;
            }
            self.add_type(name, Family::Other);
        }
    }

    pub async fn range(&mut self) {
        let (name, multirange) = (self.qualified(), self.qualified());
        let subtype = self.some_type();
        let more = if self.one_in(2) { format!(", multirange_type_name = {multirange}") } else { String::new() };
        if self.try_sql(format!("CREATE TYPE {name} AS RANGE (subtype = {}{more})", plain(&subtype))).await {
            if !more.is_empty() {
                self.types.push(Type { sql: multirange, family: Family::Other });
            }
            self.add_type(name, Family::Other);
        }
    }

    pub async fn sequence(&mut self) {
        let name = self.qualified();
        let options = self.word(&[
            "",
            " AS smallint CYCLE",
            " INCREMENT -3 MAXVALUE 500 START 77",
            " CACHE 9 MINVALUE -5",
            " AS bigint START 4000000000",
        ]);
        let unlogged = if self.one_in(6) { "UNLOGGED " } else { "" };
        if self.try_sql(format!("CREATE {unlogged}SEQUENCE {name}{options}")).await {
            if self.one_in(3)
                && let Some((_, table)) = self.some_table()
                && let Some(column) = self.pick(&table.columns)
            {
                self.try_sql(format!("ALTER SEQUENCE {name} OWNED BY {}.{}", table.sql, column.name)).await;
            }
            self.objects.push(format!("SEQUENCE {name}"));
            self.sequences.push(name);
        }
    }

    pub async fn collation(&mut self) {
        let name = self.qualified();
        let how = self.word(&[
            "FROM \"C\"",
            "(locale = 'POSIX')",
            "(provider = icu, locale = 'de-u-co-phonebk')",
            "(provider = icu, locale = 'und', deterministic = false)",
        ]);
        if self.try_sql(format!("CREATE COLLATION {name} {how}")).await {
            self.objects.push(format!("COLLATION {name}"));
            self.types.push(Type { sql: format!("text COLLATE {name}"), family: Family::Text });
        }
    }

    pub async fn text_search(&mut self) {
        let (dictionary, configuration) = (self.qualified(), self.qualified());
        self.try_sql(format!("CREATE TEXT SEARCH DICTIONARY {dictionary} (TEMPLATE = pg_catalog.simple, accept = 'false')")).await;
        if self.try_sql(format!("CREATE TEXT SEARCH CONFIGURATION {configuration} (COPY = pg_catalog.simple)")).await {
            self.try_sql(format!(
                "ALTER TEXT SEARCH CONFIGURATION {configuration} ALTER MAPPING FOR asciiword, word WITH {dictionary}, pg_catalog.simple"
            ))
            .await;
            self.objects.push(format!("TEXT SEARCH CONFIGURATION {configuration}"));
        }
    }

    pub async fn own(&mut self) {
        let objects = self.objects.clone();
        let Some(object) = self.pick(&objects) else { return };
        // A materialized view is filled with its owner's rights, which may not do.
        if !object.starts_with("MATERIALIZED") {
            let role = self.word(ROLES);
            self.try_sql(format!("ALTER {object} OWNER TO {role}")).await;
        }
    }

    pub async fn comment(&mut self) {
        let objects = self.objects.clone();
        let Some(object) = self.pick(&objects) else { return };
        self.try_sql(format!("COMMENT ON {object} IS 'it''s \\ a \"comment\"\n-- of 漢字'")).await;
    }

    pub async fn grant(&mut self) {
        let objects = self.objects.clone();
        let Some(object) = self.pick(&objects) else { return };
        let object = object.replacen("MATERIALIZED VIEW ", "TABLE ", 1).replacen("VIEW ", "TABLE ", 1);
        let role = self.word(&[ROLES[0], ROLES[1], ROLES[2], "PUBLIC"]);
        let option = if role != "PUBLIC" && self.one_in(3) { " WITH GRANT OPTION" } else { "" };
        match self.below(5) {
            0 => self.try_sql(format!("REVOKE ALL ON {object} FROM PUBLIC")).await,
            1 => self.try_sql(format!("REVOKE ALL ON {object} FROM postgres")).await,
            2 if object.starts_with("TABLE") => self.try_sql(format!("GRANT SELECT, INSERT ON {object} TO {role}{option}")).await,
            _ => self.try_sql(format!("GRANT ALL ON {object} TO {role}{option}")).await,
        };
    }

    pub async fn default_privileges(&mut self) {
        let schemas = self.schemas.clone();
        let schema = self.pick(&schemas).unwrap_or_default();
        let (role, grantee) = (self.word(ROLES), self.word(ROLES));
        let what = self.word(&["SELECT ON TABLES", "ALL ON TABLES", "USAGE ON SEQUENCES", "EXECUTE ON FUNCTIONS", "USAGE ON TYPES"]);
        let here = if self.one_in(2) { format!(" IN SCHEMA {schema}") } else { String::new() };
        let role = if self.one_in(3) { "postgres" } else { role };
        if here.is_empty() && self.one_in(3) {
            self.try_sql(format!("ALTER DEFAULT PRIVILEGES FOR ROLE {role} REVOKE {what} FROM PUBLIC")).await;
        } else {
            self.try_sql(format!("ALTER DEFAULT PRIVILEGES FOR ROLE {role}{here} GRANT {what} TO {grantee}")).await;
        }
    }
}
