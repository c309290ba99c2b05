//! Ids rest as bytes and read as lower-case hex.
//!
//! The function `hex_ids` spells them, at any depth of a value. Comparing its result with text would hide the column from
//! pruning, so [`compare_bytes`] turns such comparisons back into comparisons of bytes before a scan sees them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, ListArray, RecordBatch, StringBuilder, StructArray,
};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, lit,
};

const NAME: &str = "hex_ids";

/// `hex_ids(value)`: every id inside `value` as lower-case hex text, everything else as it is.
pub(crate) fn hex_ids() -> ScalarUDF {
    ScalarUDF::from(HexIds { signature: Signature::any(1, Volatility::Immutable) })
}

/// The type of `hex_ids` of a value of type `bytes`; equal when there is no id inside.
pub(crate) fn text_type(bytes: &DataType) -> DataType {
    match bytes {
        DataType::FixedSizeBinary(_) => DataType::Utf8,
        DataType::List(item) => DataType::List(text_field(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(text_field).collect()),
        other => other.clone(),
    }
}

fn text_field(bytes: &FieldRef) -> FieldRef {
    Arc::new(Field::new(bytes.name(), text_type(bytes.data_type()), bytes.is_nullable()))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct HexIds {
    signature: Signature,
}

impl ScalarUDFImpl for HexIds {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [bytes] => Ok(text_type(bytes)),
            _ => exec_err!("{NAME} takes one value"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.arg_fields {
            [bytes] => Ok(text_field(bytes)),
            _ => exec_err!("{NAME} takes one value"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else { return exec_err!("{NAME} takes one value") };
        Ok(match value {
            ColumnarValue::Array(array) => ColumnarValue::Array(text(array)?),
            ColumnarValue::Scalar(scalar) => {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&text(&scalar.to_array()?)?, 0)?)
            }
        })
    }
}

fn text(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::FixedSizeBinary(_) => Arc::new(spell(array.as_fixed_size_binary())),
        DataType::List(item) if text_field(item) != *item => {
            let list = array.as_list::<i32>();
            let values = text(list.values())?;
            Arc::new(ListArray::try_new(text_field(item), list.offsets().clone(), values, list.nulls().cloned())?)
        }
        DataType::Struct(fields) if text_type(array.data_type()) != *array.data_type() => {
            let rows = array.as_struct();
            let columns = rows.columns().iter().map(text).collect::<Result<Vec<_>>>()?;
            let fields = fields.iter().map(text_field).collect();
            Arc::new(StructArray::try_new(fields, columns, rows.nulls().cloned())?)
        }
        _ => Arc::clone(array),
    })
}

fn spell(ids: &FixedSizeBinaryArray) -> arrow::array::StringArray {
    let digits = 2 * usize::try_from(ids.value_length()).unwrap_or_default();
    let mut text = StringBuilder::with_capacity(ids.len(), ids.len() * digits);
    for id in ids {
        text.append_option(id.map(hex::encode));
    }
    text.finish()
}

/// Rows with every id spelled.
pub(crate) fn text_rows(rows: &RecordBatch) -> Result<RecordBatch> {
    let fields: Vec<FieldRef> = rows.schema().fields().iter().map(text_field).collect();
    let columns = rows.columns().iter().map(text).collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// `filter` with `hex_ids(id) = '…'`, `<>`, `IN (…)` and `IS NULL` turned into comparisons of bytes. Hex digits may be of either
/// case; text that is no id of this length equals no id. The meaning is the same, for null ids too.
pub(crate) fn compare_bytes(filter: Expr, schema: &DFSchema) -> Result<Expr> {
    let rewritten = filter.transform_up(|expr| {
        Ok(match expr {
            Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Eq | Operator::NotEq), right }) => {
                match (id_of(&left, schema), id_of(&right, schema)) {
                    (Some(id), _) if text_literal(&right).is_some() => Transformed::yes(id.compare(op, &right)),
                    (_, Some(id)) if text_literal(&left).is_some() => Transformed::yes(id.compare(op, &left)),
                    _ => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
                }
            }
            Expr::InList(InList { expr, list, negated }) => match id_of(&expr, schema) {
                Some(id) if list.iter().all(|item| text_literal(item).is_some()) => {
                    Transformed::yes(id.among(&list, negated))
                }
                _ => Transformed::no(Expr::InList(InList { expr, list, negated })),
            },
            Expr::IsNull(inner) => match id_of(&inner, schema) {
                Some(id) => Transformed::yes(id.column.is_null()),
                None => Transformed::no(Expr::IsNull(inner)),
            },
            Expr::IsNotNull(inner) => match id_of(&inner, schema) {
                Some(id) => Transformed::yes(id.column.is_not_null()),
                None => Transformed::no(Expr::IsNotNull(inner)),
            },
            other => Transformed::no(other),
        })
    })?;
    Ok(rewritten.data)
}

/// An id column inside `hex_ids(…)`.
struct Id {
    column: Expr,
    length: i32,
}

fn id_of(expr: &Expr, schema: &DFSchema) -> Option<Id> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else { return None };
    let [column @ Expr::Column(_)] = args.as_slice() else { return None };
    match column.get_type(schema) {
        Ok(DataType::FixedSizeBinary(length)) if func.name() == NAME => Some(Id { column: column.clone(), length }),
        _ => None,
    }
}

fn text_literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

impl Id {
    fn compare(self, op: Operator, text: &Expr) -> Expr {
        match self.bytes(text) {
            Some(bytes) => Expr::BinaryExpr(BinaryExpr::new(Box::new(self.column), op, Box::new(bytes))),
            None => self.never(op == Operator::NotEq),
        }
    }

    fn among(self, list: &[Expr], negated: bool) -> Expr {
        let bytes: Vec<Expr> = list.iter().filter_map(|text| self.bytes(text)).collect();
        match bytes.is_empty() {
            true => self.never(negated),
            false => self.column.in_list(bytes, negated),
        }
    }

    fn bytes(&self, text: &Expr) -> Option<Expr> {
        let bytes = hex::decode(text_literal(text)?).ok()?;
        let fits = i32::try_from(bytes.len()) == Ok(self.length);
        fits.then(|| lit(ScalarValue::FixedSizeBinary(self.length, Some(bytes))))
    }

    /// What comparing with something that is no id gives: `answer`, and null for a null id.
    fn never(self, answer: bool) -> Expr {
        let null = lit(ScalarValue::Boolean(None));
        match answer {
            false => self.column.is_null().and(null),
            true => self.column.is_not_null().or(null),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::logical_expr::col;
    use expect_test::{Expect, expect};
    use model::Table;

    fn check(filter: Expr, expected: Expect) {
        let schema = DFSchema::try_from(Table::Spans.schema().as_ref().clone()).unwrap();
        expected.assert_eq(&compare_bytes(filter, &schema).unwrap().to_string());
    }

    fn text(column: &str) -> Expr {
        hex_ids().call(vec![col(column)])
    }

    #[test]
    fn equal_to_hex_of_either_case_is_equal_to_bytes() {
        check(
            text("span_id").eq(lit("00Ff00000000000A")),
            expect!["span_id = FixedSizeBinary(8, \"0,255,0,0,0,0,0,10\")"],
        );
        check(
            lit("00ff00000000000a").not_eq(text("span_id")),
            expect!["span_id != FixedSizeBinary(8, \"0,255,0,0,0,0,0,10\")"],
        );
    }

    #[test]
    fn text_that_is_no_id_equals_none() {
        check(text("parent_span_id").eq(lit("ff")), expect!["parent_span_id IS NULL AND Boolean(NULL)"]);
        check(text("parent_span_id").not_eq(lit("so so")), expect!["parent_span_id IS NOT NULL OR Boolean(NULL)"]);
        check(
            text("parent_span_id").in_list(vec![lit("")], false),
            expect!["parent_span_id IS NULL AND Boolean(NULL)"],
        );
    }

    #[test]
    fn lists_keep_what_can_match() {
        check(
            text("span_id").in_list(vec![lit("0000000000000001"), lit("x")], true),
            expect!["span_id NOT IN ([FixedSizeBinary(8, \"0,0,0,0,0,0,0,1\")])"],
        );
        check(text("span_id").is_null(), expect!["span_id IS NULL"]);
    }

    #[test]
    fn other_questions_read_the_text() {
        check(text("span_id").like(lit("00%")), expect!["hex_ids(span_id) LIKE Utf8(\"00%\")"]);
        check(col("name").eq(lit("ff")), expect!["name = Utf8(\"ff\")"]);
    }
}
