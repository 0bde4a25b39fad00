//! Rows without a key, found by their whole image.

use pgrelay_tests::ways::both_ways;

const FULL: &str = r#"{"keyless": "full", "acknowledge_warnings": true}"#;

#[tokio::test]
async fn rows_with_values_that_have_no_equality_or_several_forms_are_told_apart() {
    both_ways(
        "CREATE TABLE odd (n int, j json, x xml, p point, f float8, d numeric, t text, a float4[], r numrange);
         INSERT INTO odd SELECT n, '{\"a\": 1}', '<a/>', '(1,NaN)', 'NaN', 1.0, NULL, '{NaN,-0}', '[1.0,2)' FROM generate_series(1, 60) n;
         INSERT INTO odd SELECT n, '{\"a\":1}', '<a />', '(1,NaN)', 'NaN', 1.00, NULL, '{NaN,0}', '[1.00,2)' FROM generate_series(1, 60) n;
         INSERT INTO odd SELECT n, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM generate_series(1, 60) n;
         CREATE TABLE scale (d numeric); INSERT INTO scale SELECT 1.0 FROM generate_series(1, 40); INSERT INTO scale SELECT 1.00 FROM generate_series(1, 60);
         CREATE TABLE zero (f float8); INSERT INTO zero SELECT '-0' FROM generate_series(1, 40); INSERT INTO zero SELECT '0' FROM generate_series(1, 60);
         CREATE TABLE nan (f float8, d numeric); INSERT INTO nan SELECT 'NaN', 'NaN' FROM generate_series(1, 100);
         CREATE TABLE json_only (j json); INSERT INTO json_only SELECT '{\"a\": 1}' FROM generate_series(1, 40); INSERT INTO json_only SELECT '{\"a\":1}' FROM generate_series(1, 60);
         CREATE TABLE xml_only (x xml); INSERT INTO xml_only SELECT '<a/>' FROM generate_series(1, 60);
         CREATE TABLE point_only (p point); INSERT INTO point_only SELECT '(1,2)' FROM generate_series(1, 60);
         CREATE TABLE nothing (v text); INSERT INTO nothing SELECT NULL FROM generate_series(1, 100);",
        &[
            "UPDATE odd SET t = 'one form' WHERE n BETWEEN :lo AND :hi AND j::text = '{\"a\": 1}'",
            "UPDATE odd SET t = 'the other' WHERE n BETWEEN :lo AND :hi AND j::text = '{\"a\":1}' AND n % 2 = 0",
            "UPDATE odd SET t = 'all null' WHERE n BETWEEN :lo AND :hi AND j IS NULL",
            "DELETE FROM odd WHERE n BETWEEN :lo AND :hi AND n % 3 = 0",
            "DELETE FROM scale WHERE ctid IN (SELECT ctid FROM scale WHERE d::text = '1.00' LIMIT :hi - :lo)",
            "DELETE FROM zero WHERE ctid IN (SELECT ctid FROM zero WHERE f::text = '0' LIMIT :hi - :lo)",
            "DELETE FROM nan WHERE ctid IN (SELECT ctid FROM nan LIMIT (:hi - :lo) / 2); UPDATE nan SET d = 1 WHERE ctid = (SELECT min(ctid) FROM nan)",
            "DELETE FROM json_only WHERE ctid IN (SELECT ctid FROM json_only WHERE j::text = '{\"a\":1}' LIMIT :hi - :lo)",
            "DELETE FROM xml_only WHERE ctid IN (SELECT ctid FROM xml_only LIMIT (:hi - :lo) / 2)",
            "UPDATE point_only SET p = '(3,4)' WHERE ctid IN (SELECT ctid FROM point_only LIMIT (:hi - :lo) / 2)",
            "UPDATE nothing SET v = 'v' WHERE ctid IN (SELECT ctid FROM nothing WHERE v IS NULL LIMIT :hi - :lo)",
        ],
        FULL,
    )
    .await;
}

#[tokio::test]
async fn a_table_without_columns_and_one_of_a_single_value_lose_as_many_rows_as_the_source() {
    both_ways(
        "CREATE TABLE no_columns (); INSERT INTO no_columns DEFAULT VALUES; ALTER TABLE no_columns REPLICA IDENTITY FULL;
         CREATE TABLE same (v int); INSERT INTO same SELECT 1 FROM generate_series(1, 100);",
        &[
            "INSERT INTO no_columns DEFAULT VALUES",
            "DELETE FROM same WHERE ctid IN (SELECT ctid FROM same LIMIT :hi - :lo)",
            "UPDATE same SET v = 2 WHERE ctid IN (SELECT ctid FROM same LIMIT 5)",
        ],
        FULL,
    )
    .await;
}
