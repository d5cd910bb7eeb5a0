"""What people see: figures, the HTML page, the terminal, explanations."""
