use super::*;
use pgrelay_core::error::Kind;

fn cstr(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn tuple_of(columns: &[Column<'_>]) -> Vec<u8> {
    let mut out = (columns.len() as u16).to_be_bytes().to_vec();
    for column in columns {
        let (tag, value) = match column {
            Column::Null => (b'n', None),
            Column::UnchangedToast => (b'u', None),
            Column::Text(value) => (b't', Some(value)),
            Column::Binary(value) => (b'b', Some(value)),
        };
        out.push(tag);
        if let Some(value) = value {
            out.extend((value.len() as i32).to_be_bytes());
            out.extend(*value);
        }
    }
    out
}

const LSN: [u8; 8] = 0x16_B374_D848u64.to_be_bytes();
const TS: [u8; 8] = 840_000_000_000_000i64.to_be_bytes();
const XID: [u8; 4] = 777u32.to_be_bytes();

/// Every kind of message, and whether it stands inside of a streamed block.
fn samples() -> Vec<(Vec<u8>, bool)> {
    let row = [Column::Binary(&[1, 2]), Column::Null, Column::UnchangedToast, Column::Text(b"x")];
    let mut data = vec![
        join(&[
            b"R",
            &XID[..0],
            &9u32.to_be_bytes(),
            &cstr(""),
            &cstr("täble"),
            b"i",
            &2u16.to_be_bytes(),
            &[1],
            &cstr("id"),
            &20u32.to_be_bytes(),
            &(-1i32).to_be_bytes(),
            &[0],
            &cstr("v"),
            &25u32.to_be_bytes(),
            &7i32.to_be_bytes(),
        ]),
        join(&[b"Y", &9u32.to_be_bytes(), &cstr("s"), &cstr("mood")]),
        join(&[b"I", &9u32.to_be_bytes(), b"N", &tuple_of(&row)]),
        join(&[b"U", &9u32.to_be_bytes(), b"N", &tuple_of(&row)]),
        join(&[b"U", &9u32.to_be_bytes(), b"K", &tuple_of(&row), b"N", &tuple_of(&row)]),
        join(&[b"D", &9u32.to_be_bytes(), b"O", &tuple_of(&row)]),
        join(&[b"T", &2i32.to_be_bytes(), &[3], &9u32.to_be_bytes(), &10u32.to_be_bytes()]),
        join(&[b"M", &[1], &LSN, &cstr("pre"), &3i32.to_be_bytes(), b"abc"]),
    ];
    let streamed = data.iter().map(|m| (join(&[&m[..1], &XID, &m[1..]]), true)).collect::<Vec<_>>();
    data.extend([
        join(&[b"B", &LSN, &TS, &XID]),
        join(&[b"C", &[0], &LSN, &LSN, &TS]),
        join(&[b"O", &LSN, &cstr("origin")]),
        join(&[b"S", &XID, &[1]]),
        b"E".to_vec(),
        join(&[b"c", &XID, &[0], &LSN, &LSN, &TS]),
        join(&[b"A", &XID, &XID]),
        join(&[b"A", &XID, &XID, &LSN, &TS]),
        join(&[b"b", &LSN, &LSN, &TS, &XID, &cstr("gid")]),
        join(&[b"P", &[0], &LSN, &LSN, &TS, &XID, &cstr("gid")]),
        join(&[b"K", &[0], &LSN, &LSN, &TS, &XID, &cstr("gid")]),
        join(&[b"p", &[0], &LSN, &LSN, &TS, &XID, &cstr("gid")]),
        join(&[b"r", &[0], &LSN, &LSN, &TS, &TS, &XID, &cstr("gid")]),
    ]);
    data.into_iter().map(|m| (m, false)).chain(streamed).collect()
}

/// Walks everything a message holds.
fn walk(message: &Message<'_>) -> usize {
    let columns = |t: &Tuple<'_>| t.columns().count();
    match message {
        Message::Insert { new, .. } => columns(new),
        Message::Update { old, new, .. } => columns(new) + old.as_ref().map_or(0, |(_, t)| columns(t)),
        Message::Delete { old, .. } => columns(old),
        _ => 0,
    }
}

#[test]
fn every_kind_is_decoded() {
    for (raw, streaming) in samples() {
        let payload = Bytes::from(raw.clone());
        decode(&payload, streaming).unwrap_or_else(|e| panic!("{}: {e}", char::from(raw[0])));
    }
}

#[test]
fn fields_come_out_as_they_went_in() {
    let raw = Bytes::from(samples()[0].0.clone());
    let Message::Relation { xid: None, oid: 9, schema: "pg_catalog", name: "täble", replica_identity, columns } =
        decode(&raw, false).expect("valid")
    else {
        panic!("not the relation")
    };
    assert_eq!(replica_identity, ReplicaIdentity::Index);
    assert_eq!(
        columns,
        [
            RelationColumn { is_key: true, name: "id", type_oid: 20, typmod: -1 },
            RelationColumn { is_key: false, name: "v", type_oid: 25, typmod: 7 }
        ]
    );

    let raw = Bytes::from(join(&[
        b"U",
        &XID,
        &9u32.to_be_bytes(),
        b"K",
        &tuple_of(&[Column::Text(b"k"), Column::Null]),
        b"N",
        &tuple_of(&[Column::Binary(b""), Column::UnchangedToast]),
    ]));
    let Message::Update { xid: Some(777), relation: 9, old: Some((OldKind::Key, old)), new } = decode(&raw, true).expect("valid") else {
        panic!("not the update")
    };
    assert_eq!(old.columns().collect::<Vec<_>>(), [Column::Text(b"k"), Column::Null]);
    assert_eq!((new.len(), new.columns().collect::<Vec<_>>()), (2, vec![Column::Binary(b""), Column::UnchangedToast]));
    assert!(!format!("{old:?}").contains('k') || format!("{old:?}") == "Tuple(2 columns, 7 bytes)");

    let raw = Bytes::from(join(&[b"T", &2i32.to_be_bytes(), &[2], &9u32.to_be_bytes(), &10u32.to_be_bytes()]));
    assert_eq!(
        decode(&raw, false).expect("valid"),
        Message::Truncate { xid: None, relations: vec![9, 10], cascade: false, restart_identity: true }
    );
}

#[test]
fn a_truncated_message_is_an_error() {
    for (raw, streaming) in samples() {
        for end in 0..raw.len() {
            let payload = Bytes::copy_from_slice(&raw[..end]);
            // An abort with and without its position are both whole.
            if raw[0] == b'A' && end == 9 {
                continue;
            }
            match decode(&payload, streaming) {
                Err(error) => assert_eq!(error.kind, Kind::Protocol),
                Ok(message) => panic!("{end} bytes of {:?} were decoded as {message:?}", char::from(raw[0])),
            }
        }
        let longer = Bytes::from([&raw[..], &[0]].concat());
        assert!(decode(&longer, streaming).is_err());
    }
}

#[test]
fn a_mutated_message_never_panics() {
    let mut seed = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize
    };
    for (raw, streaming) in samples() {
        for _ in 0..4000 {
            let mut changed = raw.clone();
            for _ in 0..=random() % 4 {
                let at = random() % changed.len();
                changed[at] = if random() % 3 == 0 { 0xFF } else { random() as u8 };
            }
            let payload = Bytes::from(changed);
            if let Ok(message) = decode(&payload, streaming ^ (random() % 8 == 0)) {
                walk(&message);
            }
        }
    }
}

#[test]
fn a_count_that_lies_allocates_little() {
    let payload = Bytes::from(join(&[b"R", &9u32.to_be_bytes(), &cstr("s"), &cstr("t"), b"d", &u16::MAX.to_be_bytes()]));
    assert!(decode(&payload, false).is_err());
    for count in [i32::MAX, -1, i32::MIN] {
        assert!(decode(&Bytes::from(join(&[b"T", &count.to_be_bytes(), &[0]])), false).is_err());
    }
}

#[test]
fn a_name_must_be_utf8() {
    let payload = Bytes::from(join(&[b"Y", &9u32.to_be_bytes(), b"s\0", b"\xFF\0"]));
    assert_eq!(decode(&payload, false).expect_err("not UTF-8").kind, Kind::Protocol);
}

#[test]
fn an_update_with_another_new_row_is_the_same_otherwise() {
    let old = tuple_of(&[Column::Text(b"k"), Column::Null, Column::Null]);
    let new = tuple_of(&[Column::Text(b"m"), Column::UnchangedToast, Column::Null]);
    for before in [vec![], join(&[b"K", &old])] {
        let update = Bytes::from(join(&[b"U", &9u32.to_be_bytes(), &before, b"N", &new]));
        let Message::Update { old, new, .. } = decode(&update, false).expect("valid") else { panic!("not the update") };
        let columns = [Column::Text(b"m"), Column::Text(b"long"), Column::Null];
        let completed = with_new_row(&update, new, &columns);
        let Message::Update { relation: 9, old: same, new, .. } = decode(&completed, false).expect("valid") else {
            panic!("not an update")
        };
        assert_eq!(same, old);
        assert_eq!(new.columns().collect::<Vec<_>>(), columns);
        assert!(!new.is_partial());
    }
}
