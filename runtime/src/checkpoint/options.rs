//! What do options of checkpoint and restore mean to CRIU? Pure.

use crate::error::{Error, Kind, Result};

/// `criu_cg_mode`
///
/// # Errors
/// There is no such mode.
pub fn cgroups_mode(word: Option<&str>) -> Result<i32> {
    Ok(match word {
        // CRIU restores no cgroups: this runtime makes the container's, with its limits. In any other mode CRIU
        // mounts the hierarchy anew, which takes the host's mount options away.
        None | Some("ignore") => 0,
        Some("soft") => 3,
        Some("full") => 4,
        Some("strict") => 5,
        Some(other) => {
            return Err(Error::of(Kind::Usage, format!("invalid manage-cgroups-mode value: {other:?}"))
                .remedy("it is one of ignore, soft, full, strict"));
        }
    })
}

/// `criu_network_lock_method`
///
/// # Errors
/// There is no such method.
pub fn network_lock(word: &str) -> Result<i32> {
    Ok(match word {
        "iptables" => 1,
        "nftables" => 2,
        "skip" => 3,
        other => {
            return Err(Error::of(Kind::Usage, format!("unknown network lock method specified: {other:?}"))
                .remedy("it is one of iptables, nftables, skip"));
        }
    })
}

/// Checks `--empty-ns`: network namespaces alone can be left empty, and always are.
///
/// # Errors
/// There is another one.
pub fn empty_namespaces(words: &[String]) -> Result<()> {
    match words.iter().find(|word| *word != "network") {
        Some(other) => Err(Error::of(Kind::Usage, format!("namespace {other:?} is not supported"))),
        None => Ok(()),
    }
}

/// `--page-server ADDRESS:PORT`
///
/// # Errors
/// It is not of that form.
pub fn page_server(text: &str) -> Result<(String, i32)> {
    let wrong = || Error::of(Kind::Usage, "Use --page-server ADDRESS:PORT to specify page server");
    let (address, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    if address.is_empty() {
        return Err(wrong());
    }
    let port: u16 = port.parse().map_err(|_| Error::of(Kind::Usage, format!("Invalid port number: {port:?}")))?;
    Ok((address.trim_start_matches('[').trim_end_matches(']').to_owned(), port.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_the_numbers_of_criu() {
        assert_eq!(cgroups_mode(None).unwrap(), 0);
        for (word, number) in [("ignore", 0), ("soft", 3), ("full", 4), ("strict", 5)] {
            assert_eq!(cgroups_mode(Some(word)).unwrap(), number);
        }
        assert!(cgroups_mode(Some("hard")).unwrap_err().to_string().starts_with("invalid manage-cgroups-mode value"));
        assert_eq!(network_lock("nftables").unwrap(), 2);
        assert!(network_lock("x").unwrap_err().to_string().starts_with("unknown network lock method specified"));
        assert!(empty_namespaces(&["network".into()]).is_ok());
        assert!(empty_namespaces(&["pid".into()]).unwrap_err().to_string().contains("\"pid\" is not supported"));
    }

    #[test]
    fn a_page_server_has_an_address_and_a_port() {
        assert_eq!(page_server("10.0.0.1:27").unwrap(), ("10.0.0.1".into(), 27));
        assert_eq!(page_server("[::1]:9").unwrap(), ("::1".into(), 9));
        for wrong in ["x", ":7", ""] {
            assert!(page_server(wrong).unwrap_err().to_string().contains("Use --page-server ADDRESS:PORT"));
        }
        assert!(page_server("a:99999").unwrap_err().to_string().contains("Invalid port number"));
    }
}
