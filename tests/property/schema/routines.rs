//! Functions, procedures, aggregates, operators, casts: with bodies that name tables and each other.

use super::{
    expressions::plain,
    model::{Family, Model, Routine, Type},
};

impl Model<'_> {
    fn signature(r: &Routine) -> String {
        format!("{}({})", r.sql, plain(&r.argument))
    }

    /// A function of one argument, in SQL, as a SQL-standard body, or in PL/pgSQL.
    pub async fn function(&mut self) {
        let name = self.qualified();
        let types = [Family::Int, Family::Text];
        let (from, to) = (self.pick(&types).unwrap_or(Family::Int), self.pick(&types).unwrap_or(Family::Int));
        let argument = self.type_of(from);
        let returns = self.type_of(to);
        let immutable = self.one_in(2);
        let volatility = if immutable { "IMMUTABLE" } else { self.word(&["STABLE", "VOLATILE"]) };
        let set =
            self.word(&["", "", " SET search_path = ''", " SET work_mem = '8MB'", " SECURITY DEFINER SET search_path = public, pg_temp"]);
        let sql = self.function_text(&name, "CREATE", &argument, &returns, &format!("{volatility}{set}"), immutable);
        if self.try_sql(sql).await {
            let routine = Routine { sql: name, argument, returns, immutable };
            self.objects.push(format!("FUNCTION {}", Self::signature(&routine)));
            self.routines.push(routine);
        }
    }

    fn type_of(&mut self, family: Family) -> Type {
        let types: Vec<Type> = self.types.iter().filter(|t| t.family == family && !t.sql.contains(" COLLATE ")).cloned().collect();
        let from = if self.one_in(3) { 0 } else { types.len() - 1 };
        if self.one_in(2) { types[0].clone() } else { self.pick(&types[from..]).unwrap_or_else(|| types[0].clone()) }
    }

    fn function_text(&mut self, name: &str, create: &str, argument: &Type, returns: &Type, how: &str, immutable: bool) -> String {
        let (a, r) = (plain(argument).to_string(), plain(returns).to_string());
        let own = if argument.family == returns.family { "\"A 1\"".to_string() } else { self.constant_of(returns.family) };
        let mut value = self.expression(returns.family, None, "", immutable, 2);
        if !immutable
            && self.one_in(2)
            && let Some(table) = self.some_relation()
        {
            let read = self.expression(returns.family, Some(&table), "x.", false, 1);
            value = format!("coalesce((SELECT ({read})::{r} FROM {} x LIMIT 1), ({value})::{r})", table.sql);
        }
        let head = format!("{create} FUNCTION {name}(\"A 1\" {a}) RETURNS {r}");
        match self.below(4) {
            0 => format!("{head} LANGUAGE sql {how} RETURN CASE WHEN \"A 1\" IS NULL THEN ({own})::{r} ELSE ({value})::{r} END"),
            1 => {
                format!("{head} LANGUAGE sql {how} AS $body$ SELECT CASE WHEN $1 IS NULL THEN ({own})::{r} ELSE ({value})::{r} END $body$")
            }
            2 => format!("{head} LANGUAGE sql {how} BEGIN ATOMIC SELECT 1; SELECT ({value})::{r}; END"),
            _ => format!(
                "{head} LANGUAGE plpgsql {how} AS $body$\nDECLARE \"v 1\" {r};\nBEGIN -- a comment's 'quote\n  IF \"A 1\" IS NULL THEN RETURN NULL; END IF;\n  \"v 1\" := ({value})::{r}; RETURN \"v 1\";\nEND $body$"
            ),
        }
    }

    fn constant_of(&mut self, family: Family) -> String {
        if family == Family::Int { "5".to_string() } else { "'five'".to_string() }
    }

    /// Two functions that call each other, and end.
    pub async fn circle_of_functions(&mut self) {
        let (one, two) = (self.qualified(), self.qualified());
        let body = |other: &str| format!("$body$ BEGIN IF n > 0 THEN RETURN {other}(n - 1); END IF; RETURN 0; END $body$");
        let first =
            self.try_sql(format!("CREATE FUNCTION {one}(n integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS {}", body(&two))).await;
        let second =
            self.try_sql(format!("CREATE FUNCTION {two}(n integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS {}", body(&one))).await;
        if first && second {
            let int = Type { sql: "integer".to_string(), family: Family::Int };
            self.objects.push(format!("FUNCTION {one}(integer)"));
            self.routines.push(Routine { sql: one, argument: int.clone(), returns: int, immutable: true });
        }
    }

    /// A function that takes a row of a table, or returns rows of it.
    pub async fn row_function(&mut self) {
        let (name, Some(relation)) = (self.qualified(), self.some_relation()) else { return };
        let taken = match self.below(3) {
            0 => {
                let value = self.expression(Family::Text, Some(&relation), "$1.", false, 1);
                self.try_sql(format!("CREATE FUNCTION {name}({}) RETURNS text LANGUAGE sql STABLE AS $body$ SELECT ({value})::text $body$", relation.sql)).await
            }
            1 => self.try_sql(format!("CREATE FUNCTION {name}() RETURNS SETOF {0} LANGUAGE sql ROWS 5 AS $body$ SELECT * FROM {0} $body$", relation.sql)).await,
            _ => self.try_sql(format!("CREATE FUNCTION {name}(x {0}[], VARIADIC y int[] DEFAULT '{{1,2}}', OUT z {0}, OUT \"Z Z\" text) LANGUAGE plpgsql COST 7 PARALLEL SAFE AS $body$ BEGIN z := x[1]; END $body$", relation.sql)).await,
        };
        if taken && self.one_in(2) && relation.is_table() {
            // The table needs the function that needs the table.
            let column = self.name();
            self.try_sql(format!("ALTER TABLE {0} ADD COLUMN {column} text DEFAULT {name}(NULL::{0})", relation.sql)).await;
        }
    }

    pub async fn trigger_function(&mut self) {
        let name = self.qualified();
        let reads = self.some_relation().map(|r| format!("PERFORM 1 FROM {};", r.sql)).unwrap_or_default();
        if self
            .try_sql(format!("CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN {reads} RETURN NEW; END $body$"))
            .await
        {
            self.objects.push(format!("FUNCTION {name}()"));
            self.trigger_functions.push(name);
        }
    }

    pub async fn procedure(&mut self) {
        let (name, relation) = (self.qualified(), self.some_relation());
        let of = self.some_type();
        let reads = relation.map(|r| format!("PERFORM count(*) FROM {};", r.sql)).unwrap_or_default();
        if self
            .try_sql(format!(
                "CREATE PROCEDURE {name}(IN a {}, INOUT b int DEFAULT 3) LANGUAGE plpgsql AS $body$ BEGIN {reads} END $body$",
                plain(&of)
            ))
            .await
        {
            self.objects.push(format!("PROCEDURE {name}({}, int)", plain(&of)));
        }
    }

    pub async fn aggregate(&mut self) {
        let (name, step) = (self.qualified(), self.qualified());
        let of = self.some_type();
        let of = plain(&of);
        if !self
            .try_sql(format!("CREATE FUNCTION {step}(state bigint, value {of}) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1'"))
            .await
        {
            return;
        }
        let more = self.word(&[
            "",
            ", COMBINEFUNC = int8pl, PARALLEL = SAFE",
            ", MSFUNC = int8pl, MINVFUNC = int8mi, MSTYPE = bigint, MINITCOND = '3'",
        ]);
        let ordered = self.one_in(4);
        let arguments = if ordered { format!("ORDER BY \"V V\" {of}") } else { of.to_string() };
        let more = if ordered { "" } else { more };
        if self.try_sql(format!("CREATE AGGREGATE {name}({arguments}) (SFUNC = {step}, STYPE = bigint, INITCOND = '0'{more})")).await {
            self.objects.push(format!("AGGREGATE {name}({})", arguments.replace("\"V V\" ", "")));
        }
    }

    pub async fn operator(&mut self) {
        let (function, schemas) = (self.qualified(), self.schemas.clone());
        let (left, right) = (self.some_type(), self.some_type());
        let (left, right) = (plain(&left).to_string(), plain(&right).to_string());
        let schema = self.pick(&schemas).unwrap_or_default();
        let symbol = self.word(&["=#=", "<~>", "%%", "@>@", "|||", "&^"]);
        if !self
            .try_sql(format!("CREATE FUNCTION {function}({left}, {right}) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true'"))
            .await
        {
            return;
        }
        let more = match self.below(3) {
            0 => format!(", COMMUTATOR = OPERATOR({schema}.{symbol}#)"),
            1 => format!(", NEGATOR = OPERATOR({schema}.!{symbol}), RESTRICT = eqsel, JOIN = eqjoinsel, HASHES"),
            _ => String::new(),
        };
        if self
            .try_sql(format!("CREATE OPERATOR {schema}.{symbol} (FUNCTION = {function}, LEFTARG = {left}, RIGHTARG = {right}{more})"))
            .await
        {
            self.objects.push(format!("OPERATOR {schema}.{symbol} ({left}, {right})"));
        }
    }

    pub async fn cast(&mut self) {
        let (function, from, to) = (self.qualified(), self.some_type(), self.some_type());
        let (from, to) = (plain(&from).to_string(), plain(&to).to_string());
        if self
            .try_sql(format!(
                "CREATE FUNCTION {function}({from}) RETURNS {to} LANGUAGE sql IMMUTABLE AS 'SELECT NULL::{}'",
                to.replace('\'', "''")
            ))
            .await
        {
            let how = self.word(&["", " AS ASSIGNMENT"]);
            if self.try_sql(format!("CREATE CAST ({from} AS {to}) WITH FUNCTION {function}({from}){how}")).await {
                self.objects.push(format!("CAST ({from} AS {to})"));
            }
        }
    }
}
