//! A parser of the part of HTML that the dashboard uses. It follows the rules of HTML and is
//! independent of the templates.

/// An opening tag.
#[derive(Clone, Debug)]
pub(crate) struct Tag {
    pub name: String,
    /// Values with their entities.
    pub attributes: Vec<(String, String)>,
}

impl Tag {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Returns all opening tags as a browser finds them: from a `<` before a letter to the next `>`
/// outside of quotes.
pub(crate) fn tags(page: &str) -> Vec<Tag> {
    assert!(!page.contains("<!--"), "no template has a comment");
    let mut tags = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            continue;
        }
        let (tag, end) = tag(rest);
        tags.push(tag);
        rest = &rest[end..];
    }
    tags
}

fn tag(text: &str) -> (Tag, usize) {
    let name_end = text.find(|c: char| c.is_whitespace() || c == '>' || c == '/').unwrap();
    let mut tag = Tag { name: text[..name_end].to_lowercase(), attributes: Vec::new() };
    let mut at = name_end;
    loop {
        at += text[at..].find(|c: char| !c.is_whitespace() && c != '/').expect("the tag ends");
        if text[at..].starts_with('>') {
            return (tag, at + 1);
        }
        let ends = |c: char| c.is_whitespace() || c == '=' || c == '>' || c == '/';
        let end = at + text[at..].find(ends).unwrap();
        let name = text[at..end].to_owned();
        assert!(!name.is_empty(), "an attribute has a name: {}", &text[..end]);
        at = end;
        let mut value = String::new();
        if text[at..].starts_with('=') {
            assert!(text[at..].starts_with("=\""), "a value is in quotes: {}", &text[..end]);
            let end = at + 2 + text[at + 2..].find('"').expect("the quotes end");
            text[at + 2..end].clone_into(&mut value);
            at = end + 1;
        }
        tag.attributes.push((name, value));
    }
}

/// Returns the text of the element with this ID. A list item ends a line.
pub(crate) fn text_of(page: &str, element: &str, id: &str) -> String {
    let start = page.find(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("there is no {id}"));
    let inside = &page[start..];
    let inside = &inside[inside.find('>').unwrap() + 1..];
    let inside = &inside[..inside.find(&format!("</{element}>")).unwrap()];
    let mut text = String::new();
    let mut is_tag = false;
    for c in inside.replace('\n', " ").replace("</li>", "\n</li>").chars() {
        match c {
            '<' => is_tag = true,
            '>' => is_tag = false,
            c if !is_tag => text.push(c),
            _ => {}
        }
    }
    let lines = text
        .split('\n')
        .map(|line| line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "));
    unescape(lines.collect::<Vec<_>>().join("\n").trim())
}

/// Resolves decimal character references and the named ones that askama writes.
pub(crate) fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let end = at + rest[at..].find(';').expect("a reference ends");
        let name = &rest[at + 1..end];
        out.push(match name {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            _ => {
                let code = name.strip_prefix('#').unwrap_or_else(|| panic!("&{name};"));
                char::from_u32(code.parse().unwrap()).unwrap()
            }
        });
        rest = &rest[end + 1..];
    }
    out + rest
}

/// Resolves a relative reference that begins with `./` (RFC 3986, 5.2).
pub(crate) fn resolve(path: &str, reference: &str) -> String {
    let folder = &path[..=path.rfind('/').unwrap()];
    let reference = reference.strip_prefix("./").expect("links are relative");
    assert!(!reference.starts_with('/'), "{reference}");
    let path_of_reference = reference.split('?').next().unwrap();
    assert!(!path_of_reference.split('/').any(|segment| segment == ".." || segment == "."));
    format!("{folder}{reference}")
}
