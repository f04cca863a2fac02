//! What the server can do (`GetSqlInfo`).

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::sql::metadata::SqlInfoDataBuilder;
use arrow_flight::sql::{
    CommandGetSqlInfo, SqlInfo, SqlNullOrdering, SqlOuterJoinsSupportLevel,
    SqlSupportedCaseSensitivity, SqlSupportedGroupBy, SqlSupportedSubqueries,
    SqlSupportedTransaction, SqlSupportedUnions, SqlTransactionIsolationLevel, SupportedSqlGrammar,
};
use query::QueryError;
use tonic::Status;

use crate::flight::house::House;
use crate::flight::refusal;

/// Numbers that one question may name.
const ASKED_MAX: usize = 10_000;
/// Version of the Arrow library, of which the format follows.
const ARROW_VERSION: &str = "59";

pub(super) fn schema() -> SchemaRef {
    SqlInfoDataBuilder::schema().clone().into()
}

pub(super) fn answer(house: &House, asked: &CommandGetSqlInfo) -> Result<RecordBatch, Status> {
    if asked.info.len() > ASKED_MAX {
        let message = format!("GetSqlInfo of more than {ASKED_MAX} numbers");
        return Err(refusal::status(QueryError::new("54000", message)));
    }
    let mut infos = SqlInfoDataBuilder::new();
    server(house, &mut infos);
    language(&mut infos);
    transactions(&mut infos);
    infos.append(SqlInfo::SqlMaxStatementLength, house.options.statement_bytes_max as i64);
    infos.append(SqlInfo::SqlMaxConnections, house.options.connections_max as i64);
    Ok(infos.build()?.record_batch(asked.info.iter().copied())?)
}

/// Bits of a mask.
fn mask(bits: &[i32]) -> i32 {
    bits.iter().fold(0, |mask, bit| mask | 1 << bit)
}

fn server(house: &House, infos: &mut SqlInfoDataBuilder) {
    infos.append(SqlInfo::FlightSqlServerName, "Millrace");
    infos.append(SqlInfo::FlightSqlServerVersion, house.options.version.as_str());
    infos.append(SqlInfo::FlightSqlServerArrowVersion, ARROW_VERSION);
    infos.append(SqlInfo::FlightSqlServerReadOnly, false);
    infos.append(SqlInfo::FlightSqlServerSql, true);
    infos.append(SqlInfo::FlightSqlServerSubstrait, false);
    let transactions = SqlSupportedTransaction::Savepoint as i32;
    infos.append(SqlInfo::FlightSqlServerTransaction, transactions);
    infos.append(SqlInfo::FlightSqlServerCancel, true);
    infos.append(SqlInfo::FlightSqlServerBulkIngestion, true);
    infos.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, true);
    // 0: statements end by setting only (statement_timeout).
    infos.append(SqlInfo::FlightSqlServerStatementTimeout, 0);
    let idle = i32::try_from(house.options.transaction_idle.as_millis()).unwrap_or(i32::MAX);
    infos.append(SqlInfo::FlightSqlServerTransactionTimeout, idle);
}

fn language(infos: &mut SqlInfoDataBuilder) {
    for info in [SqlInfo::SqlDdlTable, SqlInfo::SqlAllTablesAreSelectable] {
        infos.append(info, true);
    }
    infos.append(SqlInfo::SqlDdlCatalog, false);
    infos.append(SqlInfo::SqlDdlSchema, false);
    let lower = SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i64;
    infos.append(SqlInfo::SqlIdentifierCase, lower);
    infos.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    let as_is = SqlSupportedCaseSensitivity::SqlCaseSensitivityUnknown as i64;
    infos.append(SqlInfo::SqlQuotedIdentifierCase, as_is);
    infos.append(SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh as i64);
    infos.append(SqlInfo::SqlSearchStringEscape, "\\");
    infos.append(SqlInfo::SqlExtraNameCharacters, "");
    for info in [
        SqlInfo::SqlSupportsColumnAliasing,
        SqlInfo::SqlNullPlusNullIsNull,
        SqlInfo::SqlSupportsTableCorrelationNames,
        SqlInfo::SqlSupportsExpressionsInOrderBy,
        SqlInfo::SqlSupportsOrderByUnrelated,
        SqlInfo::SqlSupportsLikeEscapeClause,
        SqlInfo::SqlSupportsNonNullableColumns,
        SqlInfo::SqlCatalogAtStart,
        SqlInfo::SqlCorrelatedSubqueriesSupported,
    ] {
        infos.append(info, true);
    }
    infos.append(SqlInfo::SqlSupportsDifferentTableCorrelationNames, false);
    let groups = [
        SqlSupportedGroupBy::SqlGroupByUnrelated as i32,
        SqlSupportedGroupBy::SqlGroupByBeyondSelect as i32,
    ];
    infos.append(SqlInfo::SqlSupportedGroupBy, mask(&groups));
    let grammar =
        [SupportedSqlGrammar::SqlMinimumGrammar as i32, SupportedSqlGrammar::SqlCoreGrammar as i32];
    infos.append(SqlInfo::SqlSupportedGrammar, mask(&grammar));
    let joins = mask(&[SqlOuterJoinsSupportLevel::SqlFullOuterJoins as i32]);
    infos.append(SqlInfo::SqlOuterJoinsSupportLevel, joins);
    let subqueries = [
        SqlSupportedSubqueries::SqlSubqueriesInComparisons as i32,
        SqlSupportedSubqueries::SqlSubqueriesInExists as i32,
        SqlSupportedSubqueries::SqlSubqueriesInIns as i32,
    ];
    infos.append(SqlInfo::SqlSupportedSubqueries, mask(&subqueries));
    let unions = [SqlSupportedUnions::SqlUnion as i32, SqlSupportedUnions::SqlUnionAll as i32];
    infos.append(SqlInfo::SqlSupportedUnions, mask(&unions));
    infos.append(SqlInfo::SqlSchemaTerm, "schema");
    infos.append(SqlInfo::SqlCatalogTerm, "database");
    infos.append(SqlInfo::SqlProcedureTerm, "procedure");
    infos.append(SqlInfo::SqlSelectForUpdateSupported, false);
    infos.append(SqlInfo::SqlStoredProceduresSupported, false);
}

fn transactions(infos: &mut SqlInfoDataBuilder) {
    infos.append(SqlInfo::SqlTransactionsSupported, true);
    let level = SqlTransactionIsolationLevel::SqlTransactionRepeatableRead as i32;
    infos.append(SqlInfo::SqlDefaultTransactionIsolation, i64::from(level));
    infos.append(SqlInfo::SqlSupportedTransactionsIsolationLevels, mask(&[level]));
    infos.append(SqlInfo::SqlDataDefinitionCausesTransactionCommit, false);
    infos.append(SqlInfo::SqlDataDefinitionsInTransactionsIgnored, false);
    infos.append(SqlInfo::SqlBatchUpdatesSupported, true);
    infos.append(SqlInfo::SqlSavepointsSupported, true);
    infos.append(SqlInfo::SqlNamedParametersSupported, false);
}
