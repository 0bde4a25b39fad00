//! The connection service file of libpq (documentation, 34.17): an INI file, one section per service.

use std::path::{Path, PathBuf};

use pgrelay_core::conninfo;
use pgrelay_core::error::{Error, Kind, Result};

use super::endpoint::Surroundings;

/// Where the system-wide file is sought when PGSYSCONFDIR does not say: Debian's place, then Red Hat's and that of a build
/// from source.
const SYSTEM_FOLDERS: [&str; 3] = ["/etc/postgresql-common", "/etc", "/usr/local/pgsql/etc"];

/// The pairs of service `name`: of the user's file when it has the service, else of the system-wide file.
pub(super) fn lookup(name: &str, file: Option<&str>, around: &Surroundings) -> Result<Vec<(String, String)>> {
    let named = file.map(PathBuf::from).or_else(|| around.var("PGSERVICEFILE").map(PathBuf::from));
    let own = match named {
        Some(path) => Some(path),
        None => around.home().map(|home| home.join(".pg_service.conf")).filter(|path| path.exists()),
    };
    let system = match around.var("PGSYSCONFDIR") {
        Some(folder) => vec![PathBuf::from(folder)],
        None => SYSTEM_FOLDERS.iter().map(PathBuf::from).collect(),
    };
    let system = system.into_iter().map(|folder| folder.join("pg_service.conf")).filter(|path| path.exists());
    for path in own.into_iter().chain(system) {
        if let Some(pairs) = read(&path, name)? {
            return Ok(pairs);
        }
    }
    Err(Error::new(Kind::InvalidValue, format!("service \"{name}\" is in no connection service file"))
        .hint("Add it to ~/.pg_service.conf of the user that runs the applier, or set PGSERVICEFILE."))
}

fn read(path: &Path, name: &str) -> Result<Option<Vec<(String, String)>>> {
    let wrong = |what: &str| Error::new(Kind::Configuration, format!("connection service file \"{}\" {what}", path.display()));
    let content = std::fs::read_to_string(path).map_err(|e| wrong("cannot be read").caused_by(e))?;
    section(&content, name).map_err(|line| wrong(&format!("has a mistake in line {line}")))
}

/// The pairs of `[name]`, or the number of the line in it that is wrong. Of equal keys the first counts.
fn section(content: &str, name: &str) -> std::result::Result<Option<Vec<(String, String)>>, usize> {
    let mut found: Option<Vec<(String, String)>> = None;
    for (number, line) in content.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            if header.strip_prefix(name).is_some_and(|rest| rest.starts_with(']')) {
                found = Some(Vec::new());
            }
        } else if let Some(pairs) = &mut found {
            // libpq looks `ldap://` up in a directory and refuses nested services.
            let (key, value) = line.split_once('=').ok_or(number + 1)?;
            if !(conninfo::is_key(key) || matches!(key, "password" | "sslpassword")) || key == "service" || key == "servicefile" {
                return Err(number + 1);
            }
            if !pairs.iter().any(|(k, _)| k == key) {
                pairs.push((key.to_string(), value.to_string()));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_read_as_libpq_does() {
        let content = "# c\nhost=ignored\n[a]\nhost=x\n\n  # c\n  host=y\nport=5433  \r\npassword=p=q\n[ab]\nhost=z\n[a]\nhost=w\n";
        let pairs = section(content, "a").expect("valid").expect("found");
        assert_eq!(pairs, [("host", "x"), ("port", "5433"), ("password", "p=q")].map(|(k, v)| (k.to_string(), v.to_string())));
        assert_eq!(section(content, "ab").expect("valid").expect("found")[0].1, "z");
        assert_eq!(section(content, "b").expect("valid"), None);
        assert_eq!(section("[e]", "e").expect("valid"), Some(vec![]));
    }

    #[test]
    fn a_wrong_line_is_named() {
        assert_eq!(section("[a]\nhost x", "a"), Err(2));
        assert_eq!(section("[a]\n\nservice=b", "a"), Err(3));
        assert_eq!(section("[a]\nnonsense=1", "a"), Err(2));
        assert_eq!(section("[b]\nnonsense=1\n[a]\nhost=x", "a").expect("valid").expect("found").len(), 1);
    }
}
