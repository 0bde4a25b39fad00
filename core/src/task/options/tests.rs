//! What is read, and what is refused.

use super::*;

fn read(json: &str) -> Result<Options> {
    Options::from_json(&serde_json::from_str(json).expect("JSON"))
}

#[test]
fn every_known_option_is_read() {
    let options = read(
        r#"{"stages": ["copy", "stream"], "topology": "two_way", "keyless": "full", "not_movable": "skip", "retry_connection_minutes": 20,
            "retry_other_minutes": 19, "acknowledge_warnings": true, "copy_jobs": 64, "copy_chunk_mb": 1, "index_memory_mb": 1048576,
            "throttle": {"copy_mb_per_s": 2}, "reverse": {"throttle": {"stream_rows_per_s": 3}}, "tablespaces": "keep", "large_objects": true, "existing_objects": "keep",
            "conflict_policy": "latest_wins", "strict": true, "update_missing": "skip", "conflict_retention": 3650}"#,
    )
    .expect("valid");
    let stages = Stages { schema: false, copy: true, stream: true };
    let (keyless, not_movable) = (Keyless::Full, NotMovable::Skip);
    let (retry_connection_minutes, retry_other_minutes) = (20, 19);
    let expected = Options {
        stages,
        topology: Topology::TwoWay,
        keyless,
        not_movable,
        retry_connection_minutes,
        retry_other_minutes,
        acknowledge_warnings: true,
        copy_jobs: 64,
        index_memory_mb: Some(1_048_576),
        copy_chunk_mb: 1,
        throttle: Throttle { copy_bytes: Some(2e6), ..Throttle::default() },
        reverse: Reverse { throttle: Some(Throttle { stream_rows: Some(3.0), ..Throttle::default() }), selection: None },
        tablespaces: Tablespaces::Keep,
        large_objects: true,
        existing_objects: ExistingObjects::Keep,
        conflict_policy: Policy::LatestWins,
        strict: true,
        update_missing: UpdateMissing::Skip,
        conflict_retention: 3650,
    };
    assert_eq!(options, expected);
    assert_eq!(read("{}").expect("valid"), Options::default());
}

#[test]
fn what_pgrelay_does_today_may_be_said() {
    let today = r#"{"topology": "one_way", "existing_objects": "report", "conflict_policy": "fail", "replicate_ddl": false, "name_case": "source"}"#;
    assert_eq!(read(today).expect("valid"), Options::default());
}

#[test]
fn planned_options_are_refused_by_name() {
    for (key, value) in [("replicate_ddl", "true"), ("alert", "{}"), ("tables", "null"), ("map", "{}")] {
        let error = read(&format!("{{\"{key}\": {value}}}")).expect_err(key);
        assert_eq!(error.kind, Kind::NotSupported, "{key}");
        assert!(error.message.contains(&format!("\"{key}\"")), "{}", error.message);
    }
}

#[test]
fn an_unknown_option_lists_the_known_ones() {
    let error = read(r#"{"copyjobs": 4}"#).expect_err("unknown");
    assert_eq!(error.kind, Kind::InvalidValue);
    assert_eq!(error.message, "unknown option \"copyjobs\"");
    for key in KNOWN_OPTIONS {
        assert!(error.hint.as_deref().is_some_and(|h| h.contains(key)), "{key}");
    }
}

#[test]
fn values_out_of_range_are_refused_by_name() {
    for (key, value) in [
        ("retry_connection_minutes", "9"),
        ("retry_connection_minutes", "1441"),
        ("retry_other_minutes", "0"),
        ("retry_other_minutes", "720"),
        ("copy_jobs", "0"),
        ("copy_jobs", "65"),
        ("index_memory_mb", "0"),
        ("index_memory_mb", "1048577"),
        ("copy_jobs", "\"4\""),
        ("copy_jobs", "4.5"),
        ("copy_jobs", "null"),
        ("copy_chunk_mb", "0"),
        ("acknowledge_warnings", "\"yes\""),
        ("keyless", "\"none\""),
        ("not_movable", "1"),
        ("tablespaces", "\"drop\""),
        ("existing_objects", "\"overwrite\""),
        ("conflict_policy", "\"latest\""),
        ("conflict_policy", "null"),
        ("strict", "1"),
        ("update_missing", "true"),
        ("conflict_retention", "0"),
        ("conflict_retention", "3651"),
        ("conflict_retention", "\"30 days\""),
        ("stages", "[]"),
        ("stages", "\"copy\""),
        ("stages", "[1]"),
        ("stages", "[\"schema\", \"stream\"]"),
        ("stages", "[\"copy\", \"schema\"]"),
        ("stages", "[\"copy\", \"copy\"]"),
    ] {
        let error = read(&format!("{{\"{key}\": {value}}}")).expect_err(key);
        assert_eq!(error.kind, Kind::InvalidValue, "{key}: {value}");
        assert!(error.message.contains(&format!("\"{key}\"")), "{}", error.message);
    }
    assert!(read("[]").is_err());
    assert!(read(r#"{"retry_connection_minutes": 10}"#).is_err(), "the default of the other is 10");
}

#[test]
fn a_stream_alone_is_not_built() {
    assert_eq!(read(r#"{"stages": ["stream"]}"#).expect_err("refused").kind, Kind::NotSupported);
}

#[test]
fn a_word_that_is_none_lists_those_there_are() {
    let hint = |json| read(json).expect_err("refused").hint;
    let policies = "It must be \"fail\", \"ignore\", \"overwrite\", \"latest_wins\" or \"source_priority\".";
    assert_eq!(hint(r#"{"conflict_policy": "abort"}"#).as_deref(), Some(policies));
    assert_eq!(hint(r#"{"tablespaces": "drop"}"#).as_deref(), Some("It must be \"ignore\" or \"keep\"."));
}

#[test]
fn rules_are_the_options_and_what_counts_for_some_only() {
    let table = crate::name::TableName::new("s", "t");
    let only = Override { table: Some(table.clone()), kind: None, direction: None, policy: Policy::Ignore };
    let rules = read(r#"{"conflict_policy": "overwrite", "strict": true, "update_missing": "fail"}"#)
        .expect("valid")
        .rules(vec![only.clone()], vec![]);
    let expected =
        Rules { policy: Policy::Overwrite, strict: true, update_missing: UpdateMissing::Fail, overrides: vec![only], options: vec![] };
    assert_eq!(rules, expected);
    assert_eq!(Options::default().rules(vec![], vec![]), Rules::default());
}
