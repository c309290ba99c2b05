//! What may be asked: statements that read. Everything else is refused before it is planned.

use datafusion::sql::parser::{ExplainStatement, Statement};
use datafusion::sql::sqlparser::ast;

use crate::QueryError;

/// A statement that reads, or a sentence about why it is refused.
pub(crate) fn only_question(statement: Statement) -> Result<Statement, QueryError> {
    match reads(&statement) {
        true => Ok(statement),
        false => {
            let text = statement.to_string();
            let verb = text.split_whitespace().next().unwrap_or_default().to_uppercase();
            Err(QueryError::ReadOnly(format!("{verb} is refused")))
        }
    }
}

fn reads(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(statement) => plain_reads(statement),
        Statement::Explain(ExplainStatement { statement, .. }) => reads(statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => false,
    }
}

fn plain_reads(statement: &ast::Statement) -> bool {
    use ast::Statement::{
        Explain, ExplainTable, Query, ShowColumns, ShowCreate, ShowFunctions, ShowTables, ShowVariable,
    };
    match statement {
        Explain { statement, .. } => plain_reads(statement),
        // SELECT … INTO is found when it is planned: it is a CREATE TABLE there.
        Query(_) | ExplainTable { .. } | ShowColumns { .. } | ShowCreate { .. } | ShowFunctions { .. } => true,
        ShowTables { .. } | ShowVariable { .. } => true,
        _ => false,
    }
}
