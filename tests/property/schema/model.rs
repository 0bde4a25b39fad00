//! What was made so far, and how one more statement is tried.

use pgrelay_tests::Seed;
use tokio_postgres::Client;

use super::names::name;

/// What expressions may do with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Int,
    Text,
    Time,
    /// Anything else: only NULL and the value itself.
    Other,
}

#[derive(Debug, Clone)]
pub struct Type {
    pub sql: String,
    pub family: Family,
}

#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub of: Type,
}

/// A table, view or materialized view.
#[derive(Debug, Clone)]
pub struct Relation {
    pub sql: String,
    pub columns: Vec<Column>,
    /// `TABLE`, `VIEW`, `MATERIALIZED VIEW`.
    pub word: &'static str,
    pub partitioned: bool,
    /// Columns of its primary key.
    pub key: Vec<String>,
}

impl Relation {
    pub fn is_table(&self) -> bool {
        self.word == "TABLE"
    }

    pub fn of_family(&self, family: Family) -> Vec<&Column> {
        self.columns.iter().filter(|c| c.of.family == family).collect()
    }
}

/// A function of one argument.
#[derive(Debug, Clone)]
pub struct Routine {
    pub sql: String,
    pub argument: Type,
    pub returns: Type,
    pub immutable: bool,
}

/// The database as the generator knows it.
pub struct Model<'c> {
    client: &'c Client,
    pub seed: Seed,
    pub schemas: Vec<String>,
    pub types: Vec<Type>,
    pub relations: Vec<Relation>,
    pub routines: Vec<Routine>,
    pub trigger_functions: Vec<String>,
    pub sequences: Vec<String>,
    /// What a COMMENT or an OWNER takes: `TABLE x`.
    pub objects: Vec<String>,
    /// Everything that PostgreSQL took, in order.
    pub done: Vec<String>,
    pub refused: usize,
}

pub const ROLES: &[&str] = &["random_owner", "\"Random \"\"Reader\"", "\"rändom wrîter\""];

fn builtin(sql: &str, family: Family) -> Type {
    Type { sql: sql.to_string(), family }
}

impl<'c> Model<'c> {
    pub fn new(client: &'c Client, seed: Seed) -> Model<'c> {
        let ints = ["integer", "bigint", "smallint"].map(|t| builtin(t, Family::Int));
        let texts = ["text", "character varying(40)", "text COLLATE \"C\""].map(|t| builtin(t, Family::Text));
        let times = ["timestamp with time zone", "date"].map(|t| builtin(t, Family::Time));
        let others = [
            "numeric(12,3)",
            "boolean",
            "jsonb",
            "uuid",
            "integer[]",
            "text[]",
            "bytea",
            "inet",
            "int4range",
            "interval",
            "bit varying(9)",
            "point",
        ];
        let others = others.map(|t| builtin(t, Family::Other));
        let types = ints.into_iter().chain(texts).chain(times).chain(others).collect();
        Model {
            client,
            seed,
            schemas: vec!["public".to_string()],
            types,
            relations: vec![],
            routines: vec![],
            trigger_functions: vec![],
            sequences: vec![],
            objects: vec![],
            done: vec![],
            refused: 0,
        }
    }

    /// Runs a statement; whether PostgreSQL took it.
    pub async fn try_sql(&mut self, sql: String) -> bool {
        match self.client.batch_execute(&sql).await {
            Ok(()) => {
                self.done.push(sql);
                true
            }
            Err(e) => {
                self.refused += 1;
                if std::env::var("PGRELAY_REFUSED").is_ok() {
                    println!(
                        "refused: {} -- {}",
                        sql.replace('\n', " "),
                        e.as_db_error().map_or_else(|| e.to_string(), |d| d.message().to_string())
                    );
                }
                false
            }
        }
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.seed.below(bound.max(1) as u64) as usize
    }

    /// True in one of `n` cases.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Clone>(&mut self, list: &[T]) -> Option<T> {
        if list.is_empty() { None } else { Some(list[self.below(list.len())].clone()) }
    }

    pub fn word<'w>(&mut self, list: &[&'w str]) -> &'w str {
        list[self.below(list.len())]
    }

    pub fn name(&mut self) -> String {
        name(&mut self.seed)
    }

    /// A new qualified name.
    pub fn qualified(&mut self) -> String {
        let schemas = self.schemas.clone();
        let schema = self.pick(&schemas).unwrap_or_default();
        format!("{schema}.{}", self.name())
    }

    pub fn some_type(&mut self) -> Type {
        let types = self.types.clone();
        // Users' types are at the end, and the more interesting.
        let from = if self.one_in(2) { 0 } else { types.len() / 2 };
        self.pick(&types[from..]).unwrap_or_else(|| builtin("integer", Family::Int))
    }

    pub fn some_table(&mut self) -> Option<(usize, Relation)> {
        let tables: Vec<usize> = (0..self.relations.len()).filter(|&i| self.relations[i].is_table()).collect();
        let at = self.pick(&tables)?;
        Some((at, self.relations[at].clone()))
    }

    pub fn some_relation(&mut self) -> Option<Relation> {
        let relations = self.relations.clone();
        self.pick(&relations)
    }

    /// A function from one family to another.
    pub fn routine(&mut self, argument: Family, returns: Family, immutable: bool) -> Option<Routine> {
        let fits = |r: &&Routine| r.argument.family == argument && r.returns.family == returns && (r.immutable || !immutable);
        let routines: Vec<Routine> = self.routines.iter().filter(fits).cloned().collect();
        self.pick(&routines)
    }
}
