"""What `runner-lab doctor` looks at: `facts` and `reach` gather, `examination` judges."""
