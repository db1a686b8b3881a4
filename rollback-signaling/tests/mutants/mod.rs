//! Texts that no honest party sends, most of them made from honest ones. Each is a number, and the same for ever.
#![allow(dead_code, reason = "each test binary uses another part of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of tests are tests")]

use serde_json::Value;

/// Random numbers from a seed (SplitMix64, Steele et al. 2014).
pub(crate) struct Random(u64);

impl Random {
    /// The numbers of this seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to `bound` - 1; 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % (bound.max(1) as u64)).unwrap()
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Makes mutants of honest texts.
pub(crate) struct Mutator {
    originals: Vec<String>,
    /// Values that may stand in a field of this name, as JSON.
    fitting: Vec<(&'static str, String)>,
}

impl Mutator {
    /// Mutants of these texts. `fitting` are values as JSON that fit a field of that name: some mutants differ from
    /// an honest text in nothing else, so they are understood.
    pub(crate) fn new(originals: Vec<String>, fitting: Vec<(&'static str, String)>) -> Self {
        Self { originals, fitting }
    }

    /// A mutant.
    pub(crate) fn mutant(&self, random: &mut Random) -> String {
        let mut text = random.pick(&self.originals).clone();
        let is_gentle = random.below(2) == 0;
        for _ in 0..=random.below(3) {
            let other = random.pick(&self.originals);
            text = match random.below(7) {
                _ if is_gentle => {
                    let (field, value) = random.pick(&self.fitting);
                    change_a_value(random, &text, value, |pointer| pointer.ends_with(field))
                }
                0 => change_bytes(random, &text),
                1 => splice(random, &text, other),
                2 => double_a_field(random, &text, other),
                3 => drop_or_rename_a_field(random, &text),
                4 => nest(random, &text),
                5 => noise(random),
                _ => {
                    let monster = monster(random);
                    change_a_value(random, &text, &monster, |_| true)
                }
            };
        }
        text
    }
}

/// Some bytes are flipped, lost, put in or cut off.
fn change_bytes(random: &mut Random, text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(4) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            _ => bytes.insert(at, *random.pick(b"{}[]\",:0-e\\\0\n\x7f\xff ")),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The beginning of one and the end of the other.
fn splice(random: &mut Random, one: &str, other: &str) -> String {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let (until, from) = (random.below(one.len() + 1), random.below(other.len() + 1));
    String::from_utf8_lossy(&[&one[..until], &other[from..]].concat()).into_owned()
}

/// A field of the other text stands in the first one, too.
fn double_a_field(random: &mut Random, one: &str, other: &str) -> String {
    let inner = other.trim_start_matches('{').trim_end_matches('}');
    let fields: Vec<&str> = inner.split(',').filter(|part| part.contains(':')).collect();
    let places: Vec<usize> = one.match_indices('{').map(|(at, _)| at + 1).collect();
    if fields.is_empty() || places.is_empty() {
        return one.to_owned();
    }
    let (field, place) = (*random.pick(&fields), *random.pick(&places));
    format!("{}{field},{}", &one[..place], &one[place..])
}

fn drop_or_rename_a_field(random: &mut Random, text: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    let object = match (&mut value, random.below(2)) {
        (Value::Object(outer), 0) => outer,
        (Value::Object(outer), _) => match outer.get_mut("payload") {
            Some(Value::Object(inner)) => inner,
            _ => outer,
        },
        _ => return text.to_owned(),
    };
    let keys: Vec<String> = object.keys().cloned().collect();
    if keys.is_empty() {
        return text.to_owned();
    }
    let key = random.pick(&keys);
    let old = object.remove(key).unwrap();
    if random.below(2) == 0 {
        object.insert(format!("{key}_"), old);
    }
    value.to_string()
}

/// One of the values at some of the text's places becomes `new`.
fn change_a_value(
    random: &mut Random,
    text: &str,
    new: &str,
    is_place: impl Fn(&str) -> bool,
) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    let mut pointers = pointers(&value);
    pointers.retain(|pointer| is_place(pointer));
    if pointers.is_empty() {
        return text.to_owned();
    }
    let pointer: &String = random.pick(&pointers);
    *value.pointer_mut(pointer).unwrap() = Value::String(PLACEHOLDER.to_owned());
    value.to_string().replacen(&format!("\"{PLACEHOLDER}\""), new, 1)
}

/// Where there are values.
fn pointers(value: &Value) -> Vec<String> {
    let mut pointers = vec![String::new()];
    let mut next = 0;
    while let Some(pointer) = pointers.get(next).cloned() {
        match value.pointer(&pointer) {
            Some(Value::Object(fields)) => {
                let escaped = fields.keys().map(|key| key.replace('~', "~0").replace('/', "~1"));
                pointers.extend(escaped.map(|key| format!("{pointer}/{key}")));
            }
            Some(Value::Array(values)) => {
                pointers.extend((0..values.len()).map(|index| format!("{pointer}/{index}")));
            }
            _ => {}
        }
        next += 1;
    }
    pointers
}

/// A value that belongs nowhere: of a wrong type, huge, long, deep, or a pickle.
fn monster(random: &mut Random) -> String {
    let plain = [
        "null",
        "true",
        "[]",
        "{}",
        "\"\"",
        "-1",
        "-0.0",
        "1.5",
        "256",
        "65536",
        "4294967295",
        "4294967296",
        "9007199254740993",
        "18446744073709551615",
        "18446744073709551616",
        "1e999",
        "-1e999",
        "1e-999",
        "NaN",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"\\ud83d\\ude00\"",
        "\"\\u001b[2J\"",
        "\"../../etc/passwd\"",
        "\"ﷺ\"",
        "[[[[null]]]]",
    ];
    let (lengths, count) = ([63, 64, 65, 256, 257, 2048, 2049, 16_384, 16_385, 70_000], 300);
    match random.below(6) {
        0 => format!("\"{}\"", "x".repeat(*random.pick(&lengths))),
        1 => format!("\"{}\"", "\\\"".repeat(*random.pick(&lengths) / 2)),
        2 => "9".repeat(1 + random.below(count)),
        3 => {
            let depth = 1 + random.below(count);
            format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
        }
        4 => serde_json::to_string(random.pick(&PICKLES)).unwrap(),
        _ => (*random.pick(&plain)).to_owned(),
    }
}

/// Brackets or objects around it, thousands deep or a few, closed or not.
fn nest(random: &mut Random, text: &str) -> String {
    let depth = *random.pick(&[1, 2, 100, 127, 128, 129, 5_000]);
    let (open, close) = *random.pick(&[("[", "]"), ("{\"payload\":", "}"), ("{\"kind\":", "}")]);
    let close = if random.below(2) == 0 { close.repeat(depth) } else { String::new() };
    format!("{}{text}{close}", open.repeat(depth))
}

/// Random text that looks like JSON from afar.
fn noise(random: &mut Random) -> String {
    let words = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\"kind\"",
        "\"join\"",
        "\"signal\"",
        "\"leave\"",
        "\"payload\"",
        "\"to\"",
        "1",
        "-",
        "e9",
        "null",
        "\\u12",
        "\u{0}",
        "é",
        " ",
        "\"ready\"",
        "\"members\"",
    ];
    (0..random.below(60)).map(|_| *random.pick(&words)).collect()
}

/// What Python's `pickle` would run a command for: as text (protocol 0), in base64 (protocol 2), and as bytes, each
/// of which is a character here.
pub(crate) const PICKLES: [&str; 3] = [
    "cposix\nsystem\n(S'touch pickled'\ntR.",
    "gAJjcG9zaXgKc3lzdGVtClgNAAAAdG91Y2ggcGlja2xlZIVSLg==",
    "\u{80}\u{2}cposix\nsystem\nX\r\0\0\0touch pickled\u{85}R.",
];

const PLACEHOLDER: &str = "@here@";
