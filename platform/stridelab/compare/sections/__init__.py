"""The sections of the page, from a comparison to HTML; ``""`` where there is nothing to show."""
