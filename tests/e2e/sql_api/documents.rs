//! What docs/ says of functions, options and views is what there is.

use pgrelay_core::task::KNOWN_OPTIONS;

use crate::{source, value};

#[tokio::test]
async fn every_function_and_every_column_of_a_view_stands_in_the_documents() {
    let (_cluster, client) = source().await;
    let functions = "SELECT string_agg(DISTINCT proname, ',') FROM pg_proc WHERE pronamespace = 'pgrelay'::regnamespace";
    for name in value(&client, functions).await.unwrap().split(',') {
        assert!(include_str!("../../../docs/functions.md").contains(&format!("`{name}(")), "docs/functions.md lacks {name}");
    }
    let columns = "SELECT string_agg(format('| `%s` | %s | %s |', a.attname, format_type(a.atttypid, a.atttypmod), col_description(c.oid, a.attnum)), E'\\n')
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE c.relnamespace = 'pgrelay'::regnamespace AND c.relkind = 'v'";
    for line in value(&client, columns).await.unwrap().lines() {
        assert!(include_str!("../../../docs/views.md").contains(line), "docs/views.md lacks: {line}");
    }
    for option in KNOWN_OPTIONS {
        assert!(include_str!("../../../docs/settings.md").contains(&format!("| `{option}` |")), "docs/settings.md lacks {option}");
    }
}

#[tokio::test]
async fn the_sql_of_the_documents_runs() {
    let (_cluster, client) = source().await;
    client.batch_execute("CREATE ROLE dba; CREATE ROLE dashboard").await.unwrap();
    let roles = include_str!("../../../docs/privileges.md").split("## Rights of the applier").next().unwrap();
    for text in [roles, include_str!("../../../docs/settings.md"), include_str!("../../../docs/conflicts.md")] {
        for block in text.split("```sql\n").skip(1) {
            let sql = block.split("```").next().unwrap();
            client.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        }
    }
}
