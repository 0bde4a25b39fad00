//! From what a server or the connection to it says to the project's own error.
//!
//! **Invariant**: no row value gets through. A server's DETAIL is kept only for classes whose details speak of objects, its
//! CONTEXT (which may be a line of COPY) never; messages of class 22 and those that a function raised are replaced. The
//! whole of it stands in the server's log. An error of a server is therefore not attached as cause either.

use pgrelay_core::error::{Error, Kind};

/// The fields of an ErrorResponse that are used.
#[derive(Debug, Default)]
pub(super) struct ServerReport {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) detail: Option<String>,
    pub(super) hint: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) table: Option<String>,
    pub(super) column: Option<String>,
    pub(super) constraint: Option<String>,
    /// The C function that raised it.
    pub(super) routine: Option<String>,
}

/// Maps an error of tokio-postgres. `doing` says what failed, as in `cannot read the catalog of the source`.
pub fn server_error(e: tokio_postgres::Error, doing: &str) -> Error {
    if let Some(db) = e.as_db_error() {
        let own = |text: Option<&str>| text.map(str::to_string);
        return ServerReport {
            code: db.code().code().to_string(),
            message: db.message().to_string(),
            detail: own(db.detail()),
            hint: own(db.hint()),
            schema: own(db.schema()),
            table: own(db.table()),
            column: own(db.column()),
            constraint: own(db.constraint()),
            routine: own(db.routine()),
        }
        .into_error(doing);
    }
    if e.is_closed() {
        return Error::new(Kind::Connection, format!("{doing}: the connection was closed"));
    }
    let cause = std::error::Error::source(&e).map(ToString::to_string);
    if cause.as_deref() == Some("password missing") {
        return no_password(doing);
    }
    let from_io = std::iter::successors(std::error::Error::source(&e), |e| e.source()).any(|e| e.is::<std::io::Error>());
    // What fails here without a server or a socket is a value or a type that pgrelay itself handed over.
    let what = e.to_string();
    let connecting = ["error connecting", "error performing TLS", "error communicating", "timeout", "unexpected message"];
    let kind = match () {
        () if what.starts_with("authentication") => Kind::Configuration,
        () if from_io || connecting.iter().any(|c| what.starts_with(c)) => Kind::Connection,
        () => Kind::Internal,
    };
    let what = what.split(':').next().unwrap_or_default().to_string();
    match cause {
        Some(cause) if kind != Kind::Internal => Error::new(kind, format!("{doing}: {what}: {cause}")).caused_by(e),
        _ => Error::new(kind, format!("{doing}: {what}")).caused_by(e),
    }
}

/// The server asks for a password and there is none.
pub(super) fn no_password(doing: &str) -> Error {
    Error::new(Kind::InsufficientPrivilege, format!("{doing}: the server asks for a password and none was found"))
        .hint("Put it into the applier's .pgpass or a service file, into PGPASSWORD of its environment, or into a user mapping.")
        .server_sqlstate("28P01")
}

fn kind_of(code: &str) -> Kind {
    match code {
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04" => Kind::Connection,
        "40001" | "40P01" | "55P03" | "55006" => Kind::Contention,
        "42501" => Kind::InsufficientPrivilege,
        _ => match class(code) {
            "08" => Kind::Connection,
            "28" => Kind::InsufficientPrivilege,
            "53" => Kind::InsufficientResources,
            _ => Kind::Rejected,
        },
    }
}

fn class(code: &str) -> &str {
    code.get(..2).unwrap_or_default()
}

/// Classes whose DETAIL speaks of objects, sessions and settings, not of rows.
fn keeps_detail(code: &str) -> bool {
    matches!(class(code), "08" | "0A" | "25" | "28" | "2B" | "3D" | "3F" | "40" | "42" | "53" | "54" | "55" | "57" | "58" | "F0")
}

/// Classes whose primary message is PostgreSQL's own and names objects only. The rest is class 22, whose messages quote the
/// value, and what functions raise with words (and codes) of their own.
fn keeps_message(code: &str) -> bool {
    keeps_detail(code)
        || matches!(class(code), "0L" | "0P" | "20" | "21" | "23" | "24" | "26" | "27" | "2D" | "34" | "3B" | "44" | "72" | "XX")
}

/// The name of the condition in PostgreSQL's appendix A, for messages that are replaced.
fn condition(code: &str) -> &'static str {
    match code {
        "22000" => "data_exception",
        "22001" => "string_data_right_truncation",
        "22003" => "numeric_value_out_of_range",
        "22004" => "null_value_not_allowed",
        "22005" => "error_in_assignment",
        "22007" => "invalid_datetime_format",
        "22008" => "datetime_field_overflow",
        "22009" => "invalid_time_zone_displacement_value",
        "2200B" => "escape_character_conflict",
        "2200G" => "most_specific_type_mismatch",
        "2200M" => "invalid_xml_document",
        "2200N" => "invalid_xml_content",
        "22011" => "substring_error",
        "22012" => "division_by_zero",
        "22015" => "interval_field_overflow",
        "22021" => "character_not_in_repertoire",
        "22023" => "invalid_parameter_value",
        "22026" => "string_data_length_mismatch",
        "2202E" => "array_subscript_error",
        "22030" => "duplicate_json_object_key_value",
        "22032" => "invalid_json_text",
        "22P01" => "floating_point_exception",
        "22P02" => "invalid_text_representation",
        "22P03" => "invalid_binary_representation",
        "22P04" => "bad_copy_file_format",
        "22P05" => "untranslatable_character",
        "P0001" => "raise_exception",
        "P0002" => "no_data_found",
        "P0003" => "too_many_rows",
        "P0004" => "assert_failure",
        _ if code.starts_with("22") => "data_exception",
        _ => "an exception raised by a function",
    }
}

impl ServerReport {
    /// Reads the body of an ErrorResponse: a letter and a string each, up to a zero byte.
    pub(super) fn parse(mut body: &[u8]) -> ServerReport {
        let mut report = ServerReport::default();
        while let Some((field, rest)) = body.split_first().filter(|(field, _)| **field != 0) {
            let end = rest.iter().position(|b| *b == 0).unwrap_or(rest.len());
            let text = String::from_utf8_lossy(&rest[..end]).into_owned();
            body = rest.get(end + 1..).unwrap_or_default();
            match *field {
                b'C' => report.code = text,
                b'M' => report.message = text,
                b'D' => report.detail = Some(text),
                b'H' => report.hint = Some(text),
                b's' => report.schema = Some(text),
                b't' => report.table = Some(text),
                b'R' => report.routine = Some(text),
                b'c' => report.column = Some(text),
                b'n' => report.constraint = Some(text),
                _ => {}
            }
        }
        report
    }

    /// The error, without row values. `doing` says what failed.
    pub(super) fn into_error(self, doing: &str) -> Error {
        let code = self.code.as_str();
        // RAISE takes any SQLSTATE and any words, row values among them.
        let raised = self.routine.as_deref() == Some("exec_stmt_raise");
        let keeps_message = |code: &str| !raised && keeps_message(code);
        let message = if keeps_message(code) { self.message } else { format!("the server refused a value ({})", condition(code)) };
        let mut error = Error::new(kind_of(code), format!("{doing}: {message}")).server_sqlstate(code);
        let names = [("Constraint", &self.constraint), ("Column", &self.column)];
        let names = names.iter().filter_map(|(what, name)| name.as_ref().map(|n| format!("{what} \"{n}\"."))).collect::<Vec<_>>();
        match self.detail {
            Some(detail) if !raised && keeps_detail(code) => error = error.detail(detail),
            _ if !names.is_empty() => error = error.detail(names.join(" ")),
            _ => {}
        }
        match self.hint {
            Some(hint) if keeps_message(code) || (!raised && class(code) == "22") => error = error.hint(hint),
            _ if !keeps_message(code) => error = error.hint("The server's log has the message in full."),
            _ => {}
        }
        if let (Some(schema), Some(table)) = (&self.schema, &self.table) {
            error = error.object(format!("{schema}.{table}"));
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_function_raises_is_not_repeated_whatever_its_code() {
        let error = raised("42501", "exec_stmt_raise");
        let all = format!("{error} {:?} {:?}", error.detail, error.hint);
        assert!(!all.contains("sEcret") && !all.contains("\"hint\""), "{all}");
        assert!(raised("42501", "aclcheck_error").to_string().contains("sEcret"), "PostgreSQL's own names objects only");
    }

    fn report(code: &str) -> Error {
        raised(code, "ExecConstraints")
    }

    fn raised(code: &str, routine: &str) -> Error {
        let field = |tag: u8, text: &str| [&[tag], text.as_bytes(), &[0]].concat();
        let body = [
            field(b'S', "ERROR"),
            field(b'C', code),
            field(b'M', "primary \"sEcret\""),
            field(b'D', "Key (a)=(sEcret) exists."),
            field(b'H', "hint"),
            field(b'W', "COPY t, line 1: \"sEcret\""),
            field(b's', "public"),
            field(b't', "orders"),
            field(b'c', "amount"),
            field(b'n', "orders_pkey"),
            field(b'R', routine),
            vec![0],
        ]
        .concat();
        ServerReport::parse(&body).into_error("cannot write")
    }

    #[test]
    fn the_sqlstate_decides_the_kind() {
        for (code, kind) in [
            ("08006", Kind::Connection),
            ("57P01", Kind::Connection),
            ("53300", Kind::InsufficientResources),
            ("40001", Kind::Contention),
            ("40P01", Kind::Contention),
            ("55P03", Kind::Contention),
            ("55006", Kind::Contention),
            ("42501", Kind::InsufficientPrivilege),
            ("28P01", Kind::InsufficientPrivilege),
            ("23505", Kind::Rejected),
            ("42P01", Kind::Rejected),
            ("", Kind::Rejected),
            ("é", Kind::Rejected),
        ] {
            assert_eq!(report(code).kind, kind, "{code}");
        }
    }

    #[test]
    fn a_row_value_never_gets_through() {
        for code in ["22P02", "22003", "22021", "P0001", "U1234", "HV000"] {
            let error = report(code);
            assert!(!format!("{error:?} {error}").contains("sEcret"), "{code}: {error:?}");
            assert_eq!(error.object.as_deref(), Some("public.orders"));
            assert_eq!(error.detail.as_deref(), Some("Constraint \"orders_pkey\". Column \"amount\"."));
        }
        for code in ["23505", "23502", "44000", "XX000"] {
            let error = report(code);
            assert_eq!(error.message, "cannot write: primary \"sEcret\"");
            assert_eq!(error.detail.as_deref(), Some("Constraint \"orders_pkey\". Column \"amount\"."));
        }
        assert_eq!(report("22P02").message, "cannot write: the server refused a value (invalid_text_representation)");
    }

    #[test]
    fn a_detail_about_objects_is_kept() {
        assert_eq!(report("55006").detail.as_deref(), Some("Key (a)=(sEcret) exists."));
    }
}
