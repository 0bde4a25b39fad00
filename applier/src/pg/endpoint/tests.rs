use super::*;
use std::os::unix::fs::PermissionsExt;

/// A home folder with files, removed at the end.
struct Home(PathBuf);

impl Home {
    fn with(name: &str, files: &[(&str, &str)]) -> Home {
        let home = std::env::temp_dir().join(format!("pgrelay-home-{}-{name}", std::process::id()));
        std::fs::create_dir_all(home.join(".postgresql")).expect("made");
        for (file, content) in files {
            std::fs::write(home.join(file), content).expect("written");
            std::fs::set_permissions(home.join(file), std::fs::Permissions::from_mode(0o600)).expect("set");
        }
        Home(home)
    }

    fn around(&self, vars: &[(&str, &str)]) -> Surroundings {
        let mut vars: HashMap<_, _> = vars.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        vars.insert("HOME".into(), self.0.display().to_string());
        Surroundings { vars, os_user: Some("me".into()), socket_folder: "/run/pg".into() }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("removed");
    }
}

fn extra(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

#[test]
fn defaults_are_those_of_libpq() {
    let home = Home::with("defaults", &[]);
    let ep = Endpoint::resolve_in("", &[], &home.around(&[])).expect("valid");
    assert_eq!(ep.describe(), "host=/run/pg port=5432 dbname=me user=me");
    assert_eq!((ep.tls.mode, ep.tls.roots.clone(), ep.channel_binding), (SslMode::Prefer, Roots::Unknown, ChannelBinding::Prefer));
    assert!(ep.targets[0].password.is_none());
}

#[test]
fn each_parameter_comes_from_the_first_place_that_has_it() {
    let service = "[s]\nhost=from_service\nport=2\nuser=from_service\ndbname=from_service\npassword=from_service\n";
    let home = Home::with("order", &[(".pg_service.conf", service)]);
    let around = home.around(&[("PGSERVICE", "s"), ("PGPORT", "3"), ("PGAPPNAME", "from_env"), ("PGCONNECT_TIMEOUT", "1")]);
    let ep = Endpoint::resolve_in("host=from_text", &extra(&[("host", "no"), ("user", "from_extra"), ("fetch_size", "1")]), &around)
        .expect("valid");
    assert_eq!(ep.describe(), "host=from_text port=2 dbname=from_service user=from_extra");
    assert_eq!(ep.application_name.as_deref(), Some("from_env"));
    assert_eq!(ep.connect_timeout, Some(Duration::from_secs(2)));
    assert_eq!(ep.targets[0].password.as_deref(), Some("from_service"));
    let error = Endpoint::resolve_in("service=t", &[], &around).expect_err("no such service");
    assert_eq!(error.message, "service \"t\" is in no connection service file");
}

#[test]
fn several_hosts_have_their_own_ports_and_passwords() {
    let pgpass = "a:1:*:*:pa\nlocalhost:5432:d:*:pl\n10.0.0.9:*:*:*:pi\n";
    let home = Home::with("hosts", &[(".pgpass", pgpass)]);
    let ep = Endpoint::resolve_in("host=a,,b hostaddr=,,10.0.0.9 port=1,,3 dbname=d", &[], &home.around(&[])).expect("valid");
    let passwords = ep.targets.iter().map(|t| t.password.as_deref()).collect::<Vec<_>>();
    assert_eq!(passwords, [Some("pa"), Some("pl"), None]);
    assert_eq!(ep.describe(), "host=a,/run/pg,b port=1,5432,3 dbname=d user=me");
    let ep = Endpoint::resolve_in("hostaddr=10.0.0.9", &[], &home.around(&[])).expect("valid");
    assert_eq!(ep.targets[0].password.as_deref(), Some("pi"));
    for text in ["host=a,b port=1,2,3", "host=a,b hostaddr=1.1.1.1", "hostaddr=a"] {
        assert!(Endpoint::resolve_in(text, &[], &home.around(&[])).is_err(), "{text}");
    }
}

#[test]
fn a_password_is_not_shown_and_not_taken_from_the_text() {
    let home = Home::with("secret", &[]);
    let ep = Endpoint::resolve_in("host=a", &extra(&[("password", "sEcret")]), &home.around(&[("PGPASSWORD", "other")])).expect("valid");
    assert_eq!(ep.targets[0].password.as_deref(), Some("sEcret"));
    assert!(!format!("{ep:?} {}", ep.describe()).contains("sEcret"));
    assert!(Endpoint::resolve_in("host=a password=x", &[], &home.around(&[])).is_err());
    assert!(Endpoint::resolve_in("name_of_a_server", &[], &home.around(&[])).is_err());
}

#[test]
fn checking_a_certificate_needs_a_root() {
    let home = Home::with("roots", &[]);
    let resolve = |text: &str| Endpoint::resolve_in(text, &[], &home.around(&[]));
    assert!(resolve("sslmode=verify-ca").is_err() && resolve("sslmode=require sslrootcert=system").is_err());
    assert_eq!(resolve("sslrootcert=system").expect("valid").tls.mode, SslMode::VerifyFull);
    assert_eq!(resolve("sslmode=require sslrootcert=/r").expect("valid").tls.roots, Roots::File("/r".into()));
    for text in [
        "sslmode=x",
        "channel_binding=x",
        "connect_timeout=x",
        "require_auth=md5",
        "ssl_max_protocol_version=TLSv1.1",
        "gssencmode=require",
    ] {
        assert!(resolve(text).is_err(), "{text}");
    }
}
