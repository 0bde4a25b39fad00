//! The password file of libpq (documentation, 34.16): `host:port:database:user:password`, first matching line.

use std::path::Path;

/// What a line must match.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// `localhost` for a socket in the default folder.
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) dbname: &'a str,
    pub(super) user: &'a str,
}

/// The password for `wanted`. A file that others may read is left out with a warning, as libpq does.
pub(super) fn lookup(path: &Path, wanted: Wanted<'_>) -> Option<String> {
    let about = std::fs::metadata(path).ok()?;
    if !about.is_file() {
        tracing::warn!(path = %path.display(), "password file is not a plain file and is not used");
        return None;
    }
    if others_may_read(&about) {
        tracing::warn!(path = %path.display(), "password file has group or world access and is not used; its permissions should be 0600 or less");
        return None;
    }
    match std::fs::read(path) {
        Ok(content) => find(&String::from_utf8_lossy(&content), wanted),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "password file cannot be read");
            None
        }
    }
}

#[cfg(unix)]
fn others_may_read(about: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    about.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn others_may_read(_about: &std::fs::Metadata) -> bool {
    false
}

fn find(content: &str, wanted: Wanted<'_>) -> Option<String> {
    let port = wanted.port.to_string();
    content.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let rest = [wanted.host, &port, wanted.dbname, wanted.user].into_iter().try_fold(line, field)?;
        Some(unescape(rest))
    })
}

/// What follows the first field of `line`, when that field is `*` or, unescaped, equals `value`.
fn field<'a>(line: &'a str, value: &str) -> Option<&'a str> {
    if let Some(rest) = line.strip_prefix("*:") {
        return Some(rest);
    }
    let mut expected = value.chars();
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        let c = match c {
            ':' => return expected.next().is_none().then(|| &line[at + 1..]),
            '\\' => chars.next()?.1,
            c => c,
        };
        if expected.next() != Some(c) {
            return None;
        }
    }
    None
}

fn unescape(raw: &str) -> String {
    let mut chars = raw.chars();
    let mut out = String::new();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: Wanted<'_> = Wanted { host: "db:2", port: 5433, dbname: "app", user: "mover" };

    #[test]
    fn the_first_matching_line_counts() {
        let content = "# db\\:2:5433:app:mover:no\nother:*:*:*:no\ndb\\:2:5432:*:*:no\ndb\\:2:5433:app:mov:no\n\
                       db\\:2:5433:app:mover:one\\:two\\\\\n*:*:*:*:last\n";
        assert_eq!(find(content, W).as_deref(), Some("one:two\\"));
        assert_eq!(find("*:*:*:*:a:b", W).as_deref(), Some("a:b"));
        assert_eq!(find("*:5433:app:*:\r\n", W).as_deref(), Some(""));
    }

    #[test]
    fn a_line_that_is_cut_matches_nothing() {
        for line in ["", "db\\:2", "db\\:2:5433:app:mover", "db:2:5433:app:mover:x", "db\\", "**:*:*:*:x"] {
            assert_eq!(find(line, W), None, "{line}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("pgrelay-passfile-{}", std::process::id()));
        std::fs::write(&path, "*:*:*:*:x\n").expect("written");
        for (mode, found) in [(0o600, true), (0o640, false), (0o604, false), (0o400, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
            assert_eq!(lookup(&path, W).is_some(), found, "{mode:o}");
        }
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(lookup(&path, W), None);
    }
}
