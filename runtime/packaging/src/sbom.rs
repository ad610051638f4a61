//! What is in the binaries, for programs: a bill of materials as CycloneDX 1.5 has it.

use serde_json::{Value, json};

use crate::date::Date;
use crate::notices::{Crate, ROOTS, Shipped};
use anyhow::Result;

/// The document. It has no serial number, which would be another each time.
///
/// # Errors
/// Those of encoding.
pub(crate) fn document(shipped: &Shipped, date: &Date) -> Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    let product = json!({
        "type": "application",
        "bom-ref": format!("pkg:generic/cleat@{version}"),
        "name": "cleat",
        "version": version,
        "description": "An OCI container runtime and its containerd shim",
        "purl": format!("pkg:generic/cleat@{version}"),
        "licenses": [{"expression": "Apache-2.0"}]
    });
    let mut dependencies: Vec<Value> = shipped.crates.values().map(|one| uses(shipped, one)).collect();
    let own = shipped.crates.values().filter(|one| one.is_own && ROOTS.contains(&&*one.name));
    dependencies.insert(0, json!({"ref": product["bom-ref"], "dependsOn": own.map(reference).collect::<Vec<_>>()}));
    let document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"timestamp": date.moment, "component": product},
        "components": shipped.crates.values().map(component).collect::<Vec<_>>(),
        "dependencies": dependencies
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn reference(one: &Crate) -> String {
    // Crates of the workspace are in no registry.
    let kind = if one.is_own { "generic" } else { "cargo" };
    format!("pkg:{kind}/{}@{}", one.name, one.version) + if one.is_own { "#crate" } else { "" }
}

fn component(one: &Crate) -> Value {
    let mut value = json!({
        "type": "library",
        "bom-ref": reference(one),
        "name": one.name,
        "version": one.version,
        "licenses": [{"expression": one.licence}]
    });
    if !one.is_own {
        value["purl"] = reference(one).into();
    }
    if let Some(sha256) = &one.sha256 {
        value["hashes"] = json!([{"alg": "SHA-256", "content": sha256}]);
    }
    value
}

fn uses(shipped: &Shipped, one: &Crate) -> Value {
    let mut refs: Vec<String> = one.uses.iter().filter_map(|id| shipped.crates.get(id)).map(reference).collect();
    refs.sort();
    refs.dedup();
    json!({"ref": reference(one), "dependsOn": refs})
}
