/// The known word that is nearest to a wrong one: at most a third of its letters (and one more) away, without regard to
/// case.
func nearest(to word: String, among known: [String]) -> String? {
  let wrong = Array(word.lowercased())
  // Somebody's novel in place of a name is not worth the product of the lengths.
  guard wrong.count <= 64 else { return nil }
  let ranked = known.map { ($0, distance(wrong, Array($0.lowercased()))) }
  guard let best = ranked.min(by: { $0.1 < $1.1 }), best.1 <= wrong.count / 3 + 1 else { return nil }
  return best.0
}

/// Levenshtein's distance.
private func distance(_ a: [Character], _ b: [Character]) -> Int {
  var row = Array(0...b.count)
  for (i, x) in a.enumerated() {
    var diagonal = row[0]
    row[0] = i + 1
    for (j, y) in b.enumerated() {
      let substituted = diagonal + (x == y ? 0 : 1)
      diagonal = row[j + 1]
      row[j + 1] = min(substituted, row[j] + 1, diagonal + 1)
    }
  }
  return row[b.count]
}
