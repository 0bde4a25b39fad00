//! Writes the SQL script of a pgrx extension from its built library: `pgx-sql LIBRARY CONTROL OUT.sql`.
//!
//! pgrx keeps what its macros saw in a section of the library; its own crate turns that into the script, the same that
//! `cargo pgrx schema` writes, without the 400 CPU seconds that installing cargo-pgrx takes.

use std::{env, error::Error, fs, process::ExitCode};

use object::{Object, ObjectSection};
use pgrx_sql_entity_graph::{ControlFile, PgrxSql, SqlGraphEntity, section};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let [library, control, out] = args.as_slice() else {
        eprintln!("usage: pgx-sql LIBRARY CONTROL OUT.sql");
        return ExitCode::from(2);
    };
    match write_script(library, control, out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pgx-sql: {library}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write_script(library: &str, control: &str, out: &str) -> Result<(), Box<dyn Error>> {
    let bytes = fs::read(library)?;
    let file = object::File::parse(&*bytes)?;
    let found = file.section_by_name(section::ELF_SECTION_NAME).ok_or("it has no section of pgrx")?;
    let mut entities = section::decode_entities(found.data()?)?;
    entities.push(SqlGraphEntity::ExtensionRoot(ControlFile::from_str(&fs::read_to_string(control)?)?));
    let script = PgrxSql::build(entities.into_iter(), "pgrelay".into(), false)?.to_sql()?;
    Ok(fs::write(out, script)?)
}
