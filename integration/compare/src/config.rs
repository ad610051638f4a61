//! How does a fragment change a `config.json`?

use serde_json::{Map, Value};

/// Applies a merge patch (RFC 7386): objects are merged, `null` takes a property away, all else replaces.
///
/// Lists, which RFC 7386 can only replace, have two words more: `"mounts+"` appends to `mounts`, and `"mounts-"`
/// takes out of it whatever equals an element, or has it as its `destination`, `type` or `path`.
pub(crate) fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let Value::Object(object) = into else { return };
    for (key, value) in patch {
        if let Some(list) = key.strip_suffix('+').map(|key| list_of(object, key)) {
            list.extend(value.as_array().into_iter().flatten().cloned());
        } else if let Some(list) = key.strip_suffix('-').map(|key| list_of(object, key)) {
            list.retain(|element| !value.as_array().into_iter().flatten().any(|gone| is(element, gone)));
        } else if value.is_null() {
            object.remove(key);
        } else {
            merge(object.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The list under `key`, made when it is not there.
fn list_of<'a>(object: &'a mut Map<String, Value>, key: &str) -> &'a mut Vec<Value> {
    let value = object.entry(key.to_owned()).or_insert(Value::Null);
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    match value {
        Value::Array(list) => list,
        _ => unreachable!("it was made a list"),
    }
}

fn is(element: &Value, named: &Value) -> bool {
    element == named || ["destination", "type", "path"].iter().any(|key| element.get(key).is_some_and(|v| v == named))
}

/// Applies `change` to every string.
pub(crate) fn replace(value: &mut Value, change: &dyn Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = change(text),
        Value::Array(list) => list.iter_mut().for_each(|value| replace(value, change)),
        Value::Object(map) => map.values_mut().for_each(|value| replace(value, change)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::merge;
    use serde_json::json;

    #[test]
    fn a_patch_merges_appends_and_takes_out() {
        let mut config =
            json!({ "a": { "b": 1, "c": 2 }, "mounts": [{ "destination": "/x" }, { "destination": "/y" }] });
        merge(
            &mut config,
            &json!({ "a": { "b": null, "d": 3 }, "mounts-": ["/x"], "mounts+": [{ "destination": "/z" }] }),
        );
        assert_eq!(
            config,
            json!({ "a": { "c": 2, "d": 3 }, "mounts": [{ "destination": "/y" }, { "destination": "/z" }] })
        );
    }
}
