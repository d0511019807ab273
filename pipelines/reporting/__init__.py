"""The HTML report with its charts and ranked lists, and montages of search results."""
