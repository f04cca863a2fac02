//! What clients ask about the database.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use arrow_flight::sql::{
    CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetTables, CommandGetXdbcTypeInfo, SqlInfo,
};
use arrow_flight::{FlightInfo, IpcMessage};

use super::harness::*;

/// The answer, whose schema must be the one that was told.
async fn answer(client: &mut Client, told: FlightInfo) -> Vec<RecordBatch> {
    let schema = told.clone().try_decode_schema().unwrap();
    let batches = read(client, told.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    assert!(batches.iter().all(|batch| batch.schema().as_ref() == &schema), "{schema:?}");
    batches
}

async fn texts(client: &mut Client, told: FlightInfo) -> Vec<String> {
    answer(client, told).await.iter().flat_map(shown).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn catalogs_and_schemas() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    let told = admin.get_catalogs().await.unwrap();
    assert_eq!(texts(&mut admin, told).await, ["millrace"]);
    let asked = CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: Some("p%c".into()) };
    let told = admin.get_db_schemas(asked).await.unwrap();
    assert_eq!(texts(&mut admin, told).await, ["millrace|public"]);
    let asked = CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: None };
    let told = admin.get_db_schemas(asked).await.unwrap();
    let all = texts(&mut admin, told).await;
    assert!(all.contains(&"millrace|pg_catalog".into()) && all.contains(&"millrace|sys".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_with_filters_and_columns() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    update(&mut admin, "CREATE VIEW v AS SELECT device, n FROM m").await.unwrap();
    let ask = |pattern: Option<&str>, kinds: &[&str], include_schema| CommandGetTables {
        catalog: Some("millrace".into()),
        db_schema_filter_pattern: pattern.map(str::to_owned),
        table_name_filter_pattern: None,
        table_types: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        include_schema,
    };
    let told = admin.get_tables(ask(Some("public"), &[], false)).await.unwrap();
    let expected = ["millrace|public|m|TABLE", "millrace|public|v|VIEW"];
    assert_eq!(texts(&mut admin, told).await, expected);
    let told = admin.get_tables(ask(None, &["TABLE"], false)).await.unwrap();
    assert_eq!(texts(&mut admin, told).await, expected[..1]);
    let other = CommandGetTables { catalog: Some("other".into()), ..ask(None, &[], false) };
    let told = admin.get_tables(other).await.unwrap();
    assert!(texts(&mut admin, told).await.is_empty());
    let hostile = CommandGetTables {
        table_name_filter_pattern: Some("' OR true --".into()),
        ..ask(None, &[], false)
    };
    let told = admin.get_tables(hostile).await.unwrap();
    assert!(texts(&mut admin, told).await.is_empty());
    // All of them, with the columns that a query gives.
    let told = admin.get_tables(ask(None, &[], true)).await.unwrap();
    let batches = answer(&mut admin, told).await;
    let mut found = 0;
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let schema = batch.column(4).as_binary::<i32>().value(row);
            let schema = Schema::try_from(IpcMessage(schema.to_vec().into())).unwrap();
            let name = batch.column(2).as_string::<i32>().value(row);
            assert!(!schema.fields().is_empty(), "{name}");
            if name == "m" {
                let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
                assert_eq!(names, ["time", "device", "x", "n", "on_line", "note"]);
                assert_eq!(schema.field(1).data_type(), &DataType::Utf8);
                let told = &schema.field(0).metadata()["ARROW:FLIGHT:SQL:TYPE_NAME"];
                assert_eq!(told, "timestamp with time zone");
            }
            found += 1;
        }
    }
    assert!(found > 50, "{found} tables");
    let told = admin.get_table_types().await.unwrap();
    let kinds = texts(&mut admin, told).await;
    assert!(kinds.is_sorted() && kinds.contains(&"VIEW".into()), "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    let (catalog, db_schema, table) = (None, Some("public".to_owned()), "m".to_owned());
    let asked = CommandGetPrimaryKeys {
        catalog: catalog.clone(),
        db_schema: db_schema.clone(),
        table: table.clone(),
    };
    let told = admin.get_primary_keys(asked).await.unwrap();
    let expected = ["millrace|public|m|device|m_pkey|1", "millrace|public|m|time|m_pkey|2"];
    assert_eq!(texts(&mut admin, told).await, expected);
    let asked = CommandGetPrimaryKeys { catalog: None, db_schema: None, table: "m' OR 'a".into() };
    let told = admin.get_primary_keys(asked).await.unwrap();
    assert!(texts(&mut admin, told).await.is_empty());
    let asked = CommandGetExportedKeys {
        catalog: catalog.clone(),
        db_schema: db_schema.clone(),
        table: table.clone(),
    };
    let told = admin.get_exported_keys(asked).await.unwrap();
    assert_eq!(told.clone().try_decode_schema().unwrap().fields().len(), 13);
    assert!(texts(&mut admin, told).await.is_empty());
    let asked = CommandGetImportedKeys { catalog, db_schema, table };
    let told = admin.get_imported_keys(asked).await.unwrap();
    assert!(texts(&mut admin, told).await.is_empty());
    let asked = CommandGetCrossReference {
        pk_table: "m".into(),
        fk_table: "m".into(),
        ..Default::default()
    };
    let told = admin.get_cross_reference(asked).await.unwrap();
    assert!(texts(&mut admin, told).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_and_its_types() {
    let server = Server::start().await;
    let mut admin = server.admin().await;
    let wanted = vec![SqlInfo::FlightSqlServerName, SqlInfo::FlightSqlServerTransaction];
    let told = admin.get_sql_info(wanted).await.unwrap();
    let batches = answer(&mut admin, told).await;
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    let told = admin.get_sql_info(Vec::new()).await.unwrap();
    let batches = answer(&mut admin, told).await;
    assert!(batches.iter().map(RecordBatch::num_rows).sum::<usize>() > 30);
    let told = admin.get_xdbc_type_info(CommandGetXdbcTypeInfo { data_type: None }).await.unwrap();
    let batches = answer(&mut admin, told).await;
    let names = batches[0].column(0).as_string::<i32>();
    let names: Vec<_> = names.iter().flatten().collect();
    assert!(names.contains(&"double precision") && names.len() == 9, "{names:?}");
    let asked = CommandGetXdbcTypeInfo { data_type: Some(-5) };
    let told = admin.get_xdbc_type_info(asked).await.unwrap();
    let batches = answer(&mut admin, told).await;
    assert_eq!(batches[0].column(0).as_string::<i32>().value(0), "bigint");
    assert!(batches[0].column(0).null_count() == 0 && batches[0].num_rows() == 1);
}
