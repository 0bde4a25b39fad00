use pgrelay_applier::pg::session::PINNED;
use pgrelay_applier::pg::{self, server_error};
use pgrelay_core::error::Kind;

use crate::cluster::Cluster;

#[tokio::test]
async fn settings_are_pinned_whatever_the_role_has() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    let contrary = "ALTER ROLE postgres SET DateStyle = 'SQL,DMY'; ALTER ROLE postgres SET search_path = public;
        ALTER DATABASE postgres SET default_transaction_read_only = on; ALTER ROLE postgres SET statement_timeout = '1s';
        ALTER ROLE postgres SET idle_session_timeout = '1s'; ALTER ROLE postgres SET bytea_output = 'escape';
        ALTER ROLE postgres SET TimeZone = 'Asia/Tokyo'; ALTER ROLE postgres SET row_security = on";
    client.batch_execute(contrary).await.expect("set");
    let odd = r"it's a \ value  with spaces";
    let client = pg::connect(&cluster.socket(), "odd name", &[("my.setting", odd), ("work_mem", "5MB")]).await.expect("connected");
    let show = async |name: &str| -> String { client.query_one("SELECT current_setting($1)", &[&name]).await.expect(name).get(0) };
    for (name, value, _) in PINNED {
        let expected = if *value == "ISO,YMD" { "ISO, YMD" } else { value };
        assert_eq!(show(name).await, expected, "{name}");
    }
    assert_eq!(show("idle_session_timeout").await, "0");
    assert_eq!((show("my.setting").await.as_str(), show("work_mem").await.as_str()), (odd, "5MB"));
    assert_eq!(show("application_name").await, "odd name");
}

#[tokio::test]
async fn every_way_in_that_libpq_has() {
    let cluster = Cluster::start().await;
    let cert = [("sslcert", "DIR/client.crt"), ("sslkey", "DIR/client.key")].map(|(k, v)| format!("{k}={v}")).join(" ");
    for (text, encrypted) in [
        ("user=scram_user sslmode=disable", false),
        ("user=scram_user sslmode=allow", false),
        ("user=scram_user sslmode=prefer", true),
        ("user=scram_user sslmode=require", true),
        ("user=scram_user sslmode=require channel_binding=require", true),
        ("user=scram_user sslmode=verify-ca sslrootcert=DIR/ca.crt", true),
        ("user=scram_user sslmode=verify-full sslrootcert=DIR/ca.crt", true),
        ("user=scram_user sslmode=require ssl_max_protocol_version=TLSv1.2 channel_binding=require", true),
        ("user=only_tls sslmode=allow", true),
        ("user=only_plain sslmode=prefer", false),
        ("user=md5_user sslmode=disable", false),
        ("user=clear_user sslmode=require", true),
        (&format!("user=tls_user sslmode=verify-full sslrootcert=DIR/ca.crt {cert}"), true),
    ] {
        let client = pg::connect(&cluster.tcp(text), "test", &[]).await.unwrap_or_else(|e| panic!("{text}: {e:?}"));
        let row = client.query_one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await.expect("row");
        assert_eq!(row.get::<_, bool>(0), encrypted, "{text}");
    }
    let several = cluster.tcp("user=scram_user").describe().replace("host=localhost", "host=127.0.0.1,127.0.0.1");
    let several = several.replace("port=", "port=1,");
    let ep = pg::Endpoint::resolve(&several, &[("password".into(), "sEcret".into())]).expect("valid");
    pg::connect(&ep, "test", &[]).await.expect("the second host answers");
}

#[tokio::test]
async fn a_refused_login_says_why() {
    let cluster = Cluster::start().await;
    for (text, password, kind, part) in [
        ("user=scram_user", Some("wrong"), Kind::InsufficientPrivilege, "password authentication failed"),
        ("user=scram_user", None, Kind::InsufficientPrivilege, "none was found"),
        ("user=scram_user sslmode=verify-ca sslrootcert=DIR/other.crt", Some("sEcret"), Kind::Configuration, "no known authority"),
        ("user=only_plain sslmode=require", Some("sEcret"), Kind::InsufficientPrivilege, "pg_hba.conf"),
        ("user=scram_user sslmode=disable channel_binding=require", Some("sEcret"), Kind::Configuration, "channel binding"),
        ("user=tls_user sslmode=require sslcert=DIR/client.crt sslkey=DIR/encrypted.key", None, Kind::NotSupported, "encrypted"),
        ("user=scram_user target_session_attrs=standby", Some("sEcret"), Kind::Connection, "target_session_attrs"),
        ("user=nobody port=1", Some("sEcret"), Kind::Connection, "port 1"),
    ] {
        let extra: Vec<_> = password.iter().map(|p| ("password", *p)).collect();
        let error = pg::connect(&cluster.tcp_with(text, &extra), "test", &[]).await.map(drop).expect_err(text);
        assert_eq!(error.kind, kind, "{text}: {error:?}");
        assert!(error.message.contains(part), "{text}: {error:?}");
        assert!(!format!("{error:?}").contains("sEcret"), "{error:?}");
    }
}

#[tokio::test]
async fn the_name_and_the_documented_self_signed_certificate() {
    let cluster = Cluster::start().await;
    cluster.certificate("self");
    for (text, accepted) in [
        ("sslmode=verify-full sslrootcert=DIR/self.crt", true),
        ("sslmode=verify-ca sslrootcert=DIR/self.crt", true),
        ("sslmode=verify-ca sslrootcert=DIR/ca.crt", false),
        ("sslmode=require channel_binding=require", true),
    ] {
        let result = pg::connect(&cluster.tcp(&format!("user=scram_user {text}")), "test", &[]).await;
        assert_eq!(result.is_ok(), accepted, "{text}: {:?}", result.err());
    }
    let wrong_name = format!("host=127.0.0.1 port={} dbname=postgres user=scram_user sslmode=", cluster.port);
    let root = format!("sslrootcert={}/self.crt", cluster.folder.display());
    let ep =
        |mode: &str| pg::Endpoint::resolve(&format!("{wrong_name}{mode} {root}"), &[("password".into(), "sEcret".into())]).expect("valid");
    let error = pg::connect(&ep("verify-full"), "test", &[]).await.map(drop).expect_err("wrong name");
    assert_eq!((error.kind, error.message.contains("not for this host")), (Kind::Configuration, true), "{error:?}");
    pg::connect(&ep("verify-ca"), "test", &[]).await.expect("the name is not checked");
}

#[tokio::test]
async fn no_row_value_comes_with_an_error() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    let setup = "CREATE TABLE public.t (id int PRIMARY KEY, v text CHECK (v <> 'sEcret'));
        CREATE FUNCTION public.f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'about sEcret' USING HINT = 'sEcret'; END $$;
        INSERT INTO public.t VALUES (42, 'x')";
    client.batch_execute(setup).await.expect("made");
    for (sql, state, object) in [
        ("SELECT 'sEcret'::int", "22P02", None),
        ("SELECT 'sEcret'::timestamptz", "22007", None),
        ("SELECT '{\"a\": sEcret}'::jsonb", "22P02", None),
        ("INSERT INTO public.t VALUES (1, 'sEcret')", "23514", Some("public.t")),
        ("INSERT INTO public.t SELECT 42, 'sEcre' || 't2'", "23505", Some("public.t")),
        ("SELECT public.f()", "P0001", None),
    ] {
        let error = server_error(client.batch_execute(sql).await.expect_err(sql), "cannot write");
        assert_eq!((error.sqlstate(), error.object.as_deref()), (state, object), "{error:?}");
        assert!(!format!("{error:?}").contains("sEcret") && !format!("{error:?}").contains("42"), "{error:?}");
    }
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("row").get(0);
    cluster.client().await.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.expect("ended");
    let error = server_error(client.batch_execute("SELECT 1").await.expect_err("gone"), "cannot read");
    assert_eq!(error.kind, Kind::Connection, "{error:?}");
}
