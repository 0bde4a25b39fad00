//! Connection strings of libpq, as text: taken apart and checked, never resolved.
//!
//! Both forms of PostgreSQL's documentation (34.1.1) are read: `host=db2 dbname=app` and `postgresql://db2/app`.
//! Services, the environment, password files and defaults are the applier's (`pg::Endpoint`).
//! No error of this file repeats a value: what stands in the wrong place may be a password.

use crate::error::{Error, Kind, Result};

/// Keys that `peer` may hold (DESIGN, section 4): what names a server, and nothing that names a file or a secret.
const PEER_KEYS: [&str; 8] = ["host", "hostaddr", "port", "dbname", "user", "sslmode", "application_name", "service"];

/// Keys that `--source` may hold besides those of `peer`: every parameter of libpq that holds no secret.
const SOURCE_KEYS: [&str; 33] = [
    "passfile",
    "servicefile",
    "connect_timeout",
    "options",
    "client_encoding",
    "fallback_application_name",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "channel_binding",
    "require_auth",
    "gssencmode",
    "gssdelegation",
    "gsslib",
    "krbsrvname",
    "sslnegotiation",
    "sslcompression",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslcertmode",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "requirepeer",
    "target_session_attrs",
    "load_balance_hosts",
    "min_protocol_version",
    "max_protocol_version",
];

/// Keys whose value is a secret.
const SECRET_KEYS: [&str; 5] = ["password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"];

/// Values of `sslmode`, weakest first.
pub const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// The key/value pairs of a connection string, in their order. Of equal keys the last counts, as in libpq.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Conninfo {
    /// Key and value, both decoded.
    pub pairs: Vec<(String, String)>,
}

impl std::fmt::Debug for Conninfo {
    /// Shows keys only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.pairs.iter().map(|(k, _)| k)).finish()
    }
}

impl Conninfo {
    /// Takes a connection string apart. Keys are not checked.
    ///
    /// Stricter than libpq in one thing: an `@` of a URI outside of its userinfo must be percent-encoded, since it is mostly
    /// the end of a password with an unescaped `/` or `@`, which would become a host or a database name.
    pub fn parse(text: &str) -> Result<Conninfo> {
        if text.contains('\0') {
            return Err(invalid("connection string holds a zero byte"));
        }
        let pairs = match uri_body(text) {
            Some(rest) => parse_uri(rest)?,
            None => parse_pairs(text)?,
        };
        Ok(Conninfo { pairs })
    }

    /// The value of `key`, when it is given.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

/// Whether `text` is a connection string; what is none is the name of a foreign server.
pub fn is_conninfo(text: &str) -> bool {
    text.contains('=') || text.contains("://")
}

/// Checks what a user gives as `peer`. Refused by name: every key but the eight that name a server, and any password.
pub fn check_peer(text: &str) -> Result<Conninfo> {
    let info = Conninfo::parse(text)?;
    refuse_secrets(&info, &["passfile"], "peer")?;
    refuse_others(&info, "peer", |key| PEER_KEYS.contains(&key))
        .map_err(|e| e.hint(format!("\"peer\" takes {}, or the name of a foreign server.", PEER_KEYS.join(", "))))?;
    check_values(&info)?;
    Ok(info)
}

/// Checks what an operator gives as `--source`. Any parameter of libpq but a password.
pub fn check_source(text: &str) -> Result<Conninfo> {
    let info = Conninfo::parse(text)?;
    refuse_secrets(&info, &[], "source")?;
    refuse_others(&info, "source", is_key)?;
    check_values(&info)?;
    Ok(info)
}

/// Whether `key` is a parameter of libpq that holds no secret.
pub fn is_key(key: &str) -> bool {
    PEER_KEYS.contains(&key) || SOURCE_KEYS.contains(&key)
}

fn refuse_secrets(info: &Conninfo, also: &[&str], what: &str) -> Result<()> {
    match info.pairs.iter().find(|(k, _)| SECRET_KEYS.contains(&k.as_str()) || also.contains(&k.as_str())) {
        None => Ok(()),
        Some((key, _)) => Err(invalid(format!("\"{what}\" must not hold a password: \"{key}\" is refused")).hint(
            "Put the password into the applier's .pgpass, a service file, or the environment of the applier, or into a user mapping.",
        )),
    }
}

fn refuse_others(info: &Conninfo, what: &str, allowed: impl Fn(&str) -> bool) -> Result<()> {
    let Some((key, _)) = info.pairs.iter().find(|(k, _)| !allowed(k)) else { return Ok(()) };
    // What is no identifier is no mistyped key either, but the rest of a value with a space in it.
    let named = key.len() <= 63 && key.starts_with(|c: char| c.is_ascii_lowercase());
    if named && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        Err(invalid(format!("\"{what}\" does not take \"{key}\"")))
    } else {
        Err(invalid(format!("\"{what}\" holds a key that is not a name")).hint("Put values with spaces into single quotes."))
    }
}

fn check_values(info: &Conninfo) -> Result<()> {
    for (key, value) in &info.pairs {
        match key.as_str() {
            "port" => {
                parse_ports(value)?;
            }
            "sslmode" if !value.is_empty() && !SSL_MODES.contains(&value.as_str()) => {
                return Err(invalid("\"sslmode\" has an unknown value").hint(format!("It is one of {}.", SSL_MODES.join(", "))));
            }
            "dbname" if value.contains("://") || value.contains('=') => {
                return Err(invalid("\"dbname\" holds a connection string")
                    .hint("Give the name of the database alone, or the connection string without \"dbname=\"."));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The ports of a comma-separated list; an empty one is `None` (the default).
pub fn parse_ports(list: &str) -> Result<Vec<Option<u16>>> {
    list.split(',')
        .map(|port| match port.trim() {
            "" => Ok(None),
            port => match port.parse::<u16>() {
                Ok(number) if number > 0 => Ok(Some(number)),
                _ => Err(invalid("\"port\" is not a number between 1 and 65535")),
            },
        })
        .collect()
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::InvalidValue, message)
}

fn uri_body(text: &str) -> Option<&str> {
    text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"))
}

/// Keyword/value form, character by character as libpq's `conninfo_parse`.
fn parse_pairs(text: &str) -> Result<Vec<(String, String)>> {
    let mut chars = text.chars().peekable();
    let mut pairs = Vec::new();
    loop {
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(pairs);
        }
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_ascii_whitespace()) {
            key.push(c);
        }
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        if chars.next() != Some('=') || key.is_empty() {
            return Err(invalid("connection string lacks a \"=\" after a key")
                .hint("It is written as host=... dbname=..., with values that hold spaces in single quotes."));
        }
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        pairs.push((key, parse_value(&mut chars)?));
    }
}

fn parse_value(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String> {
    let quoted = chars.next_if_eq(&'\'').is_some();
    let mut value = String::new();
    loop {
        match chars.next() {
            None if quoted => return Err(invalid("connection string holds a quote that is not closed")),
            None => return Ok(value),
            Some('\\') => value.extend(chars.next()),
            Some('\'') if quoted => return Ok(value),
            Some(c) if !quoted && c.is_ascii_whitespace() => return Ok(value),
            Some(c) => value.push(c),
        }
    }
}

/// URI form behind the scheme: `[user[:password]@][host][:port][,...][/dbname][?key=value[&...]]`.
fn parse_uri(rest: &str) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let (authority, dbname) = match rest.split_once('/') {
        Some((authority, dbname)) => (authority, dbname),
        None => (rest, ""),
    };
    let hosts = match authority.split_once('@') {
        None => authority,
        Some((userinfo, hosts)) => {
            let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
            push_decoded(&mut pairs, "user", user)?;
            push_decoded(&mut pairs, "password", password)?;
            hosts
        }
    };
    if hosts.contains('@') || dbname.contains('@') {
        return Err(invalid("connection URI holds an \"@\" in the wrong place").hint("Write %40 for an \"@\" and %2F for a \"/\"."));
    }
    parse_hosts(hosts, &mut pairs)?;
    push_decoded(&mut pairs, "dbname", dbname)?;
    for part in query.into_iter().flat_map(|q| q.split('&')).filter(|p| !p.is_empty()) {
        match part.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.contains('=') => {
                let pair = (decode(key)?, decode(value)?);
                pairs.push(if pair.0 == "ssl" && pair.1 == "true" { ("sslmode".into(), "require".into()) } else { pair });
            }
            _ => return Err(invalid("connection URI holds a parameter that is not key=value")),
        }
    }
    Ok(pairs)
}

fn parse_hosts(list: &str, pairs: &mut Vec<(String, String)>) -> Result<()> {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for one in list.split(',') {
        let (host, port) = match one.strip_prefix('[') {
            None => one.split_once(':').unwrap_or((one, "")),
            Some(bracketed) => match bracketed.split_once(']') {
                Some((host, "")) if !host.is_empty() => (host, ""),
                Some((host, port)) if !host.is_empty() && port.starts_with(':') => (host, &port[1..]),
                _ => return Err(invalid("connection URI holds an IPv6 address that is not written as [address]:port")),
            },
        };
        hosts.push(host);
        ports.push(port);
    }
    if hosts.iter().any(|h| !h.is_empty()) {
        push_decoded(pairs, "host", &hosts.join(","))?;
    }
    if ports.iter().any(|p| !p.is_empty()) {
        push_decoded(pairs, "port", &ports.join(","))?;
    }
    Ok(())
}

fn push_decoded(pairs: &mut Vec<(String, String)>, key: &str, raw: &str) -> Result<()> {
    if !raw.is_empty() {
        pairs.push((key.to_string(), decode(raw)?));
    }
    Ok(())
}

fn decode(raw: &str) -> Result<String> {
    let bad = || invalid("connection URI holds a percent sign that is not followed by a valid code");
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).ok_or_else(bad);
        match digit(bytes.next())? * 16 + digit(bytes.next())? {
            0 => return Err(bad()),
            code => out.push(code as u8),
        }
    }
    String::from_utf8(out).map_err(|_| invalid("connection URI is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        Conninfo::parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).pairs
    }

    fn of(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn keyword_form_reads_as_libpq_does() {
        assert_eq!(pairs(""), of(&[]));
        assert_eq!(pairs("host=a dbname=b"), of(&[("host", "a"), ("dbname", "b")]));
        assert_eq!(pairs("  host =\ta\n port= 5433 "), of(&[("host", "a"), ("port", "5433")]));
        assert_eq!(pairs(r"user='a b' dbname='it\'s' host=x\ y"), of(&[("user", "a b"), ("dbname", "it's"), ("host", "x y")]));
        assert_eq!(pairs(r"user='' dbname=a\\b"), of(&[("user", ""), ("dbname", r"a\b")]));
        assert_eq!(pairs("password= dbname=x"), of(&[("password", "dbname=x")]));
        assert_eq!(Conninfo::parse("port=1 port=2").expect("valid").get("port"), Some("2"));
        for text in ["host", "host x=1", "user='a", "=a", "host=a = b"] {
            assert!(Conninfo::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn uri_form_reads_as_libpq_does() {
        assert_eq!(pairs("postgresql://"), of(&[]));
        assert_eq!(pairs("postgres://localhost"), of(&[("host", "localhost")]));
        assert_eq!(
            pairs("postgresql://u%40x:p%2F@h:5433/d?sslmode=require&connect_timeout=3"),
            of(&[
                ("user", "u@x"),
                ("password", "p/"),
                ("host", "h"),
                ("port", "5433"),
                ("dbname", "d"),
                ("sslmode", "require"),
                ("connect_timeout", "3")
            ])
        );
        assert_eq!(pairs("postgresql://h1:1,h2,[::1]:3/d"), of(&[("host", "h1,h2,::1"), ("port", "1,,3"), ("dbname", "d")]));
        assert_eq!(pairs("postgresql:///d?host=/tmp&port=1"), of(&[("dbname", "d"), ("host", "/tmp"), ("port", "1")]));
        assert_eq!(pairs("postgresql://%2Fvar%2Frun/d"), of(&[("host", "/var/run"), ("dbname", "d")]));
        assert_eq!(pairs("postgresql://h?ssl=true"), of(&[("host", "h"), ("sslmode", "require")]));
        for text in [
            "postgres://h/%",
            "postgres://h/%zz",
            "postgres://h/%00",
            "postgres://[::1/d",
            "postgres://[]/d",
            "postgres://h?a",
            "postgres://h?a=b=c",
        ] {
            assert!(Conninfo::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn peer_takes_what_names_a_server_and_nothing_else() {
        for text in ["", "host=a hostaddr=1.2.3.4 port=1,2 dbname=d user=u sslmode=verify-full application_name=x", "service=s"] {
            assert!(check_peer(text).is_ok(), "{text}");
        }
        for (text, key) in [
            ("host=a sslkey=/x", "sslkey"),
            ("postgres://a/d?options=-cx", "options"),
            ("passfile=/x", "passfile"),
            ("sslpassword=x", "sslpassword"),
            ("host=a nonsense=1", "nonsense"),
        ] {
            let error = check_peer(text).expect_err(text);
            assert_eq!(error.kind, Kind::InvalidValue);
            assert!(error.message.contains(&format!("\"{key}\"")), "{}", error.message);
            assert!(error.hint.is_some());
        }
        assert!(check_peer("port=0").is_err() && check_peer("port=x").is_err() && check_peer("sslmode=maybe").is_err());
        assert!(check_peer("dbname='postgres://u:p@h/d'").is_err());
    }

    #[test]
    fn no_error_repeats_a_value() {
        for text in [
            "password=sEcret",
            "host=a password='sEcret",
            "host=a password=x sEcret",
            "host=a password=x sEcret=1",
            "host=a PASSWORD=sEcret",
            "passwort=sEcret",
            "port=sEcret",
            "sslmode=sEcret",
            "postgres://u:sEcret@h/d",
            "postgres://u:pa/sEcret@h/d",
            "postgres://u:1/sEcret@h/d",
            "postgres://u:%zsEcret@h/d",
            "postgres://u:a@sEcret@h/d",
            "postgres://h/d?password=sEcret",
            "dbname='host=x password=sEcret'",
        ] {
            for error in [check_peer(text).expect_err(text), check_source(text).expect_err(text)] {
                assert!(!format!("{error:?}").contains("sEcret"), "{text}: {error:?}");
            }
        }
        assert!(!format!("{:?}", Conninfo::parse("password=sEcret")).contains("sEcret"));
    }

    #[test]
    fn source_takes_every_parameter_of_libpq_but_a_password() {
        assert!(check_source("host=a sslmode=require sslrootcert=/r connect_timeout=3 options='-c x=1' passfile=/p service=s").is_ok());
        assert!(check_source("postgresql://h/d?keepalives_idle=5&target_session_attrs=primary&channel_binding=require").is_ok());
        assert!(check_source("password=x").is_err() && check_source("postgres://u:p@h").is_err() && check_source("nonsense=1").is_err());
    }

    #[test]
    fn a_name_is_no_connection_string() {
        assert!(is_conninfo("host=a") && is_conninfo("postgres://a"));
        assert!(!is_conninfo("db2") && !is_conninfo(""));
    }
}
