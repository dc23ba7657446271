"""What a Dataset says of itself: cards, suggestions of what to type next, HTML reports."""
