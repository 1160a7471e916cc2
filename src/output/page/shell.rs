//! What all pages have in common: the policy, and text that cannot break out of where it is put.

use base64_simd::STANDARD;
use sha2::{Digest, Sha256};

/// The fixed parts of a page.
#[derive(Clone, Copy, Debug)]
pub(in crate::output) struct Shell {
    /// Says what made the page.
    pub(in crate::output) kind: &'static str,
    /// What stands in the `body` before the data.
    pub(in crate::output) body: &'static str,
    pub(in crate::output) script: &'static str,
    pub(in crate::output) style: &'static str,
}

impl Shell {
    /// The page with this title and this JSON, which may show media from `origins` besides those beside it.
    pub(in crate::output) fn fill(&self, title: &str, json: &str, origins: &[String]) -> Vec<u8> {
        let policy = self.policy(origins);
        let (title, json) = (escape(title), hide(json));
        let mut rest = include_str!("shell.html");
        let fixed = rest.len() + self.body.len() + self.script.len() + self.style.len();
        let mut page = String::with_capacity(fixed + json.len());
        // In one go: what is put in is not looked at again.
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").expect("the template is ours");
            page.push_str(before);
            page.push_str(match name {
                "kind" => self.kind,
                "title" => &title,
                "body" => self.body,
                "csp" => &policy,
                "style" => self.style,
                "script" => self.script,
                "data" => &json,
                other => unreachable!("{other} is in a template of ours"),
            });
            rest = after;
        }
        page.push_str(rest);
        page.into_bytes()
    }

    /// For pages that were opened from a directory, browsers take `'self'` for nothing at all, or for that file; `file:` is what
    /// lets them play. On a page that came by HTTP it allows nothing, as browsers load no files there.
    fn policy(&self, origins: &[String]) -> String {
        let more: String = origins.iter().map(|origin| format!(" {}", escape(origin))).collect();
        let hash = |text: &str| STANDARD.encode_to_string(Sha256::digest(text.as_bytes()));
        format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; media-src 'self' file:{more}; \
             img-src 'self' file:{more}; base-uri 'none'; form-action 'none'",
            hash(self.script),
            hash(self.style)
        )
    }
}

/// JSON as text of a `script` element: nothing in it looks like markup, and it still is the same JSON.
fn hide(json: &str) -> String {
    let mut hidden = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => hidden.push_str(&format!("\\u{:04x}", c as u32)),
            c => hidden.push(c),
        }
    }
    hidden
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}
