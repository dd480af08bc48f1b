"""What a run leaves for a person: tables, figures and charts; it knows no job."""
