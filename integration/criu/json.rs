//! What does a message say, field by field, as CRIU's own definition of it has them?

use protobuf::reflect::{ReflectFieldRef, ReflectValueRef};
use protobuf::{Enum as _, MessageDyn};
use rust_criu::rust_criu_protobuf::rpc::Criu_req_type;
use serde_json::{Map, Value, json};

/// The fields that were sent, by their names, zeros too; `unknown` are the numbers of others.
pub(crate) fn message(message: &dyn MessageDyn) -> Value {
    let mut object = Map::new();
    for field in message.descriptor_dyn().fields() {
        match field.get_reflect(message) {
            ReflectFieldRef::Optional(value) => {
                if let Some(value) = value.value() {
                    object.insert(field.name().to_owned(), scalar(&value));
                }
            }
            ReflectFieldRef::Repeated(list) => {
                let values: Vec<Value> = list.into_iter().map(|value| scalar(&value)).collect();
                if !values.is_empty() {
                    object.insert(field.name().to_owned(), json!(values));
                }
            }
            ReflectFieldRef::Map(_) => {}
        }
    }
    let unknown: Vec<u32> = message.special_fields_dyn().unknown_fields().iter().map(|(number, _)| number).collect();
    if !unknown.is_empty() {
        object.insert("unknown".to_owned(), json!(unknown));
    }
    Value::Object(object)
}

fn scalar(value: &ReflectValueRef<'_>) -> Value {
    match value {
        ReflectValueRef::U32(value) => json!(value),
        ReflectValueRef::I32(value) => json!(value),
        ReflectValueRef::U64(value) => json!(value),
        ReflectValueRef::I64(value) => json!(value),
        ReflectValueRef::F32(value) => json!(value),
        ReflectValueRef::F64(value) => json!(value),
        ReflectValueRef::Bool(value) => json!(value),
        ReflectValueRef::String(value) => json!(value),
        ReflectValueRef::Bytes(value) => json!(value),
        ReflectValueRef::Enum(kind, number) => {
            kind.value_by_number(*number).map_or_else(|| json!(number), |value| json!(value.name()))
        }
        ReflectValueRef::Message(inner) => message(&**inner),
    }
}

/// The type of request with this name.
pub(crate) fn request_type(name: &str) -> Option<Criu_req_type> {
    Criu_req_type::VALUES.iter().copied().find(|kind| format!("{kind:?}") == name)
}
