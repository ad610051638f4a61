//! `#[test]`, as the tests of `integration` have it.
//!
//! The compiler's own attribute is for its own runner, which knows no test that finds out while it runs that
//! it must be skipped. This one puts the function on the list of [`integration`'s runner][1].
//!
//! [1]: ../integration/harness/index.html

use proc_macro::{TokenStream, TokenTree};

/// A test: a function without arguments. It passes when it returns, and fails by a panic.
#[proc_macro_attribute]
pub fn test(_: TokenStream, function: TokenStream) -> TokenStream {
    let is_fn = |token: &TokenTree| matches!(token, TokenTree::Ident(word) if word.to_string() == "fn");
    let name = function.clone().into_iter().skip_while(|token| !is_fn(token)).nth(1);
    let list = match name {
        Some(TokenTree::Ident(name)) => format!("::integration::register! {{ {name} }}"),
        _ => "compile_error! { \"a test is a function\" }".to_owned(),
    };
    // The function stays as it is; what follows it has been written above.
    let list: TokenStream = list.parse().unwrap_or_default();
    [function, list].into_iter().collect()
}
